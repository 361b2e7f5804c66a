//! What to do about each finding of the program.

use ipc::node_check::{Finding, NodeCheckRequest, Subject};

use super::Line;

pub(super) fn line(finding: &Finding, request: &NodeCheckRequest) -> Line {
    let host = &request.host;
    let what = match finding.subject {
        Subject::Health => format!("the description of the gateway can be read at {host}"),
        Subject::HostInformation => "the host information is signed by this gateway and names its addresses".to_owned(),
        Subject::BuildInformation => "program and version are as configured".to_owned(),
        Subject::Roles => "it says that it is a gateway".to_owned(),
        Subject::Websockets => "the ports for clients are as configured".to_owned(),
        Subject::AuxiliaryDetails => "the port for mix nodes and the terms are as configured".to_owned(),
        Subject::Registration => format!("a client can register at {host} port {}", request.ws_port),
        Subject::MixPort => format!("mix nodes can connect to port {}", request.mix_port),
        Subject::Identity => format!("it is this gateway that answers at {host}"),
        Subject::TlsPort => {
            format!("clients can connect to the proxy for TLS at {host} port {}", request.wss_port.unwrap_or(443))
        }
    };
    let Some(wrong) = &finding.wrong else { return Line::good(what) };
    Line::bad(format!("it is not so that {what}: {wrong}"), remedy(finding.subject, request))
}

fn remedy(subject: Subject, request: &NodeCheckRequest) -> String {
    let port = request.custom_http_port.unwrap_or(8080);
    match subject {
        Subject::Health => format!(
            "start the gateway, let the firewall pass TCP port {port}, and look whether {} leads to this machine (a name needs a DNS record)",
            request.host
        ),
        Subject::HostInformation | Subject::BuildInformation | Subject::Websockets | Subject::AuxiliaryDetails => {
            "restart the gateway after a change of config.toml; if that does not help, something else answers at this address".to_owned()
        }
        Subject::Roles => format!("another node answers at port {port}: choose another port with --http-bind-address"),
        Subject::Registration => format!(
            "let the firewall pass TCP port {}, or announce the port at which a proxy passes clients on, with --announce-ws-port",
            request.ws_port
        ),
        Subject::Identity => {
            "announce the addresses of this machine with --public-ips and --hostname, or choose another port with --http-bind-address"
                .to_owned()
        }
        Subject::TlsPort => "start the proxy, or announce no port for TLS: clients try it first (--announce-wss-port 0)".to_owned(),
        Subject::MixPort => format!(
            "let the firewall pass TCP port {}, or announce the right one with --mixnet-announce-port",
            request.mix_port
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};
    use ipc::http_api::{AnnouncedProgram, HostFacts};

    #[test]
    fn every_finding_has_words_and_a_remedy() {
        let request = NodeCheckRequest {
            account: None,
            host: "gw.example".into(),
            custom_http_port: Some(81),
            identity: [1; 32],
            facts: HostFacts { addresses: vec![], hostname: None, sphinx: [2; 32] },
            program: AnnouncedProgram { name: "p".into(), version: "1.0.0".into() },
            ws_port: 9000,
            wss_port: None,
            mix_port: 1789,
            accepted_terms: true,
        };
        for subject in [
            Subject::Health,
            Subject::HostInformation,
            Subject::BuildInformation,
            Subject::Roles,
            Subject::Websockets,
            Subject::AuxiliaryDetails,
            Subject::Registration,
            Subject::MixPort,
            Subject::Identity,
            Subject::TlsPort,
        ] {
            let good = line(&Finding::good(subject), &request);
            assert_eq!((good.verdict, good.remedy.as_str()), (Verdict::Good, ""));
            let bad = line(&Finding::bad(subject, "timed out".into()), &request);
            assert!(bad.verdict == Verdict::Bad && bad.what.contains("timed out") && !bad.remedy.is_empty(), "{bad:?}");
        }
    }
}
