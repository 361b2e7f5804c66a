//! nginx and haproxy, configured as the manual says. If one is not installed, its test says so and tries nothing.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use ipc::control::EdgeConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};

use super::{
    client::TIMEOUT,
    gateway::{Gateway, config},
};

/// A running proxy and its folder. Dropping it kills the proxy and removes the folder.
struct Proxy(Child, PathBuf);

impl Drop for Proxy {
    fn drop(&mut self) {
        // Errors do not matter: the proxy may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// Starts the program with `configuration`, if it is installed.
fn start(program: &str, arguments: &[&str], name: &str, configuration: &str) -> Option<Proxy> {
    let folder = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("proxy.conf");
    std::fs::write(&file, configuration.replace("FOLDER", folder.to_str().unwrap())).unwrap();
    let spawned = Command::new(program).args(arguments).arg(&file).stdin(Stdio::null()).spawn();
    spawned.inspect_err(|error| eprintln!("{program} is not tried: {error}")).ok().map(|child| Proxy(child, folder))
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn gateway() -> Gateway {
    let trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    Gateway::start(EdgeConfig { max_connections_per_prefix: 1, trusted_proxies, ..config() }).await.0
}

/// A websocket through the proxy, from this address.
async fn enter(proxy: SocketAddr, last: u8) -> TcpStream {
    let due = Instant::now() + TIMEOUT;
    let mut socket = loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        match socket.connect(proxy).await {
            Ok(socket) => break socket,
            Err(error) => assert!(Instant::now() < due, "the proxy does not listen: {error}"),
        }
        sleep(Duration::from_millis(20)).await;
    };
    let request = "GET / HTTP/1.1\r\nHost: x\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nUpgrade: websocket\r\n\
                   Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(TIMEOUT, socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    socket
}

/// The limit is one connection for each address.
async fn tells_clients_apart(gateway: &Gateway, proxy: SocketAddr) {
    let _held = [enter(proxy, 2).await, enter(proxy, 3).await, enter(proxy, 4).await];
    let counters = gateway.edge.counters();
    assert_eq!(counters.connections_evicted.load(Relaxed), 0);
    let _second = enter(proxy, 2).await;
    assert_eq!(counters.connections_evicted.load(Relaxed), 1);
}

#[tokio::test]
async fn clients_behind_nginx_are_told_apart() {
    let (gateway, port) = (gateway().await, free_port());
    let configuration = format!(
        "daemon off; master_process off; pid FOLDER/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path FOLDER; proxy_temp_path FOLDER; fastcgi_temp_path FOLDER; uwsgi_temp_path FOLDER;\n\
         scgi_temp_path FOLDER;\nserver {{ listen {port}; location / {{ proxy_pass http://{};\nproxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection upgrade;\n\
         proxy_set_header X-Forwarded-For $remote_addr;\nproxy_set_header Forwarded \"\"; }} }} }}\n",
        gateway.address
    );
    let Some(_proxy) = start("/usr/sbin/nginx", &["-c"], "nginx", &configuration) else { return };
    tells_clients_apart(&gateway, port).await;
}

#[tokio::test]
async fn clients_behind_haproxy_are_told_apart() {
    for (name, mode, send) in
        [("h1", "tcp", "send-proxy"), ("h2", "tcp", "send-proxy-v2"), ("h3", "http", "send-proxy-v2")]
    {
        let (gateway, port) = (gateway().await, free_port());
        let configuration = format!(
            "defaults\n  mode {mode}\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend clients\n  bind {port}\n  default_backend gateway\n\
             backend gateway\n  server gateway {} {send}\n",
            gateway.address
        );
        let Some(_proxy) = start("/usr/sbin/haproxy", &["-db", "-f"], name, &configuration) else { return };
        tells_clients_apart(&gateway, port).await;
    }
}
