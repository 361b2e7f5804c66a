//! The configuration of each worker: what it needs to know, and nothing about the others.

use ipc::{
    Role,
    control::{
        EdgeConfig, EgressConfig, HttpConfig, IngressConfig, OwnAddresses, StoreConfig, WorkerConfig, session_credit,
    },
    credit::Window,
};
use wire::framing::FramingChoice;

use crate::{
    config::{Config, LimitsSection, MemoryBudgets},
    node::Announced,
};

/// What `mix-ingress` may have under way to `store`. Both are told the same.
const fn window(limits: &LimitsSection) -> Window {
    Window { messages: limits.packets_in_flight.get(), bytes: MemoryBudgets::of(limits).in_flight }
}

/// What `store` may have under way to one session of `client-edge`. Both are told the same.
const fn credit(limits: &LimitsSection) -> Window {
    session_credit(limits.client_buffer.get())
}

/// The configuration of `role`. `own` are the addresses of this machine.
pub(crate) fn for_role(config: &Config, announced: &Announced, own: &OwnAddresses, role: Role) -> WorkerConfig {
    let memory = MemoryBudgets::of(&config.limits);
    match role {
        Role::MixIngress => WorkerConfig::MixIngress(IngressConfig {
            half_frame: config.timeouts.half_frame,
            max_connections: config.limits.max_mix_connections.get(),
            max_connections_per_prefix: config.limits.max_mix_connections_per_prefix.get(),
            malformed_packets: config.limits.malformed_mix_packets.get(),
            window: window(&config.limits),
            replay: config.replay.of_worker(),
            half_frame_bytes: memory.half_frames,
            ack_bytes: memory.acks,
        }),
        Role::MixEgress => WorkerConfig::MixEgress(EgressConfig {
            connect_timeout: config.debug.initial_connection_timeout,
            initial_backoff: config.debug.packet_forwarding_initial_backoff,
            maximum_backoff: config.debug.packet_forwarding_maximum_backoff,
            queue_packets: config.debug.maximum_connection_buffer_size.get(),
            allow_private: config.allow_private(),
            ports: config.egress.ports.clone(),
            own: own.clone(),
            max_next_hops: config.egress.max_next_hops.get(),
            framing: config.egress.framing,
            queued_bytes: memory.next_hops,
        }),
        Role::ClientEdge => WorkerConfig::ClientEdge(EdgeConfig {
            websocket_upgrade: config.timeouts.websocket_upgrade,
            first_request: config.timeouts.first_request,
            handshake_message: config.timeouts.handshake_message,
            receipt_timeout: config.delivery.receipt_timeout,
            keepalive: config.timeouts.keepalive,
            trusted_proxies: config.clients.trusted_proxies.clone(),
            max_connections: config.limits.max_client_connections.get(),
            max_connections_per_prefix: config.limits.max_client_connections_per_prefix.get(),
            max_unauthenticated: config.limits.max_unauthenticated_clients.get(),
            registrations_per_minute: config.limits.registrations_per_minute.get(),
            logins_per_minute: config.limits.logins_per_minute.get(),
            new_next_hops_per_minute: config.egress.new_next_hops_per_minute.get(),
            malformed_frames: config.limits.malformed_client_frames.get(),
            session_credit: credit(&config.limits),
            pushed_bytes: memory.pushed,
            half_message_bytes: memory.half_messages,
            packet_bytes: memory.packets,
            half_message: config.timeouts.half_message,
            legacy_clients: config.protocol.legacy_clients,
            // Every frame of version 8 has room for the mark, so that no mark has to be dropped.
            rotation_marks: config.egress.rotation_marks || config.egress.framing == FramingChoice::V8,
        }),
        Role::Store => WorkerConfig::Store {
            announce: announced.facts.clone(),
            config: StoreConfig {
                spill_after: config.delivery.spill_after,
                inbox_messages: config.limits.inbox_messages.get(),
                inbox_bytes: config.limits.inbox_bytes.get(),
                newcomer_share: config.limits.newcomer_share.get(),
                data_bytes: config.limits.data_bytes.get(),
                message_age: config.limits.message_age,
                client_idle: config.limits.client_idle,
                window: window(&config.limits),
                // One for each connection, and as many again for sessions that have ended while the message about the end is under way.
                max_sessions: config.limits.max_client_connections.get().saturating_mul(2),
                session_credit: credit(&config.limits),
                replay_bytes: config.replay.memory.get(),
                pushed_bytes: memory.pushed,
                read_ahead_bytes: memory.read_ahead,
                client_logins_per_hour: config.limits.client_logins_per_hour.get(),
            },
        },
        Role::HttpApi => WorkerConfig::HttpApi(HttpConfig {
            description: announced.description.clone(),
            max_connections: config.http.max_connections.get(),
            max_connections_per_prefix: config.http.max_connections_per_prefix.get(),
            request: config.http.request,
            requests_per_connection: config.http.requests_per_connection.get(),
            metrics_allow: config.metrics.allow.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use ipc::{control::ReplayConfig, ports::PortRange};

    use super::*;
    use crate::{
        config::HttpSection,
        keys::PublicKeys,
        paths::{GatewayId, GatewayPaths, Root},
    };
    use std::{num::NonZeroU32, time::Duration};

    #[test]
    fn no_value_lands_in_the_place_of_another() {
        let id: GatewayId = "demo".parse().unwrap();
        let paths = GatewayPaths::new(&Root::new(Some("/r".into()), None).unwrap(), &id);
        let ms = Duration::from_millis;
        let number = |n| NonZeroU32::new(n).unwrap();
        let mut config = Config::new(&id, &paths);
        config.debug.packet_forwarding_initial_backoff = ms(1);
        config.debug.packet_forwarding_maximum_backoff = ms(2);
        config.debug.initial_connection_timeout = ms(3);
        config.debug.maximum_connection_buffer_size = number(4);
        config.delivery.spill_after = ms(5);
        config.delivery.receipt_timeout = ms(6);
        config.timeouts.websocket_upgrade = ms(7);
        config.timeouts.first_request = ms(8);
        config.timeouts.keepalive = ms(31);
        config.clients.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
        config.timeouts.handshake_message = ms(9);
        config.timeouts.half_frame = ms(10);
        config.timeouts.half_message = ms(28);
        config.egress.allow_private = Some(true);
        config.egress.ports = vec![PortRange { first: 28, last: 29 }];
        config.egress.new_next_hops_per_minute = number(30);
        config.egress.max_next_hops = number(11);
        config.egress.framing = FramingChoice::V7;
        config.egress.rotation_marks = true;
        config.protocol.legacy_clients = false;
        config.replay = crate::config::ReplaySection {
            packets_per_generation: number(16),
            period: ms(17),
            kept_at_least: ms(28),
            memory: number(29).into(),
            snapshot_interval: ms(19),
            ..config.replay
        };
        config.limits.inbox_messages = number(12).into();
        config.limits.inbox_bytes = number(13).into();
        config.limits.newcomer_share = number(22);
        config.limits.data_bytes = number(14).into();
        config.limits.message_age = ms(23);
        config.limits.client_idle = ms(24);
        config.limits.max_mix_connections = number(14);
        config.limits.max_client_connections = number(15);
        config.limits.max_mix_connections_per_prefix = number(16);
        config.limits.max_client_connections_per_prefix = number(17);
        config.limits.max_unauthenticated_clients = number(18);
        config.limits.registrations_per_minute = number(19);
        config.limits.logins_per_minute = number(28);
        config.limits.client_logins_per_hour = number(30);
        config.limits.malformed_mix_packets = number(20);
        config.limits.malformed_client_frames = number(21);
        config.limits.client_buffer = number(25).into();
        config.limits.packets_in_flight = number(26);
        config.limits.bytes_in_flight = number(27).into();
        config.limits.memory = number(240).into();
        let own = OwnAddresses { addresses: vec![[8, 8, 8, 8].into()], mix_ports: vec![31], other_ports: vec![32] };
        config.http = HttpSection {
            max_connections: number(33),
            max_connections_per_prefix: number(34),
            request: ms(35),
            requests_per_connection: number(36),
        };
        config.metrics.allow = vec!["10.0.0.0/9".parse().unwrap()];
        config.node.enabled = true;
        config.node.public_ips = vec![[9, 9, 9, 9].into()];
        let keys = PublicKeys { identity: [37; 32], sphinx: [38; 32] };
        let announced = Announced::of(&config, &keys).unwrap();
        let configs = Role::ALL.map(|role| for_role(&config, &announced, &own, role));
        let expected = [
            WorkerConfig::Store {
                announce: announced.facts,
                config: StoreConfig {
                    spill_after: ms(5),
                    inbox_messages: 12,
                    inbox_bytes: 13,
                    newcomer_share: 22,
                    data_bytes: 14,
                    message_age: ms(23),
                    client_idle: ms(24),
                    window: Window { messages: 26, bytes: 20 },
                    max_sessions: 30,
                    session_credit: session_credit(25),
                    replay_bytes: 29,
                    pushed_bytes: 50,
                    read_ahead_bytes: 10,
                    client_logins_per_hour: 30,
                },
            },
            WorkerConfig::MixEgress(EgressConfig {
                connect_timeout: ms(3),
                initial_backoff: ms(1),
                maximum_backoff: ms(2),
                queue_packets: 4,
                allow_private: true,
                ports: vec![PortRange { first: 28, last: 29 }],
                own: own.clone(),
                max_next_hops: 11,
                framing: FramingChoice::V7,
                queued_bytes: 60,
            }),
            WorkerConfig::ClientEdge(EdgeConfig {
                websocket_upgrade: ms(7),
                first_request: ms(8),
                handshake_message: ms(9),
                receipt_timeout: ms(6),
                keepalive: ms(31),
                trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
                max_connections: 15,
                max_connections_per_prefix: 17,
                max_unauthenticated: 18,
                registrations_per_minute: 19,
                logins_per_minute: 28,
                new_next_hops_per_minute: 30,
                malformed_frames: 21,
                session_credit: session_credit(25),
                pushed_bytes: 50,
                half_message_bytes: 20,
                packet_bytes: 10,
                half_message: ms(28),
                legacy_clients: false,
                rotation_marks: true,
            }),
            WorkerConfig::MixIngress(IngressConfig {
                half_frame: ms(10),
                max_connections: 14,
                max_connections_per_prefix: 16,
                malformed_packets: 20,
                window: Window { messages: 26, bytes: 20 },
                replay: ReplayConfig {
                    packets_per_generation: 16,
                    period: ms(17),
                    kept_at_least: ms(28),
                    memory: 29,
                    false_positives_per_billion: 10_000,
                    snapshot_interval: ms(19),
                },
                half_frame_bytes: 20,
                ack_bytes: 10,
            }),
            WorkerConfig::HttpApi(HttpConfig {
                description: announced.description,
                max_connections: 33,
                max_connections_per_prefix: 34,
                request: ms(35),
                requests_per_connection: 36,
                metrics_allow: vec!["10.0.0.0/9".parse().unwrap()],
            }),
        ];
        assert_eq!(configs, expected);
    }
}
