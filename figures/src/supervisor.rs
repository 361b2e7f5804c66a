//! The figures of the supervisor: what it sees of its workers from outside, and the balances.

use ipc::Role;

use crate::Number;

crate::figures! {
    /// The figures of the process.
    pub struct SupervisorFigures {
        /// When the gateway was started, in seconds since 1970.
        gauge start_timestamp (seconds),
        /// Deaths of workers of this role that were no orderly end.
        counter deaths_mix_ingress = "worker_deaths" { worker: "mix-ingress" },
        /// Deaths of workers of this role that were no orderly end.
        counter deaths_mix_egress = "worker_deaths" { worker: "mix-egress" },
        /// Deaths of workers of this role that were no orderly end.
        counter deaths_client_edge = "worker_deaths" { worker: "client-edge" },
        /// Deaths of workers of this role that were no orderly end.
        counter deaths_store = "worker_deaths" { worker: "store" },
        /// Deaths of workers of this role that were no orderly end.
        counter deaths_http_api = "worker_deaths" { worker: "http-api" },
        /// 1 if the worker of this role is at work.
        gauge ready_mix_ingress = "worker_ready" { worker: "mix-ingress" },
        /// 1 if the worker of this role is at work.
        gauge ready_mix_egress = "worker_ready" { worker: "mix-egress" },
        /// 1 if the worker of this role is at work.
        gauge ready_client_edge = "worker_ready" { worker: "client-edge" },
        /// 1 if the worker of this role is at work.
        gauge ready_store = "worker_ready" { worker: "store" },
        /// 1 if the worker of this role is at work.
        gauge ready_http_api = "worker_ready" { worker: "http-api" },
        /// Memory of the process of this role that is in the machine's memory.
        gauge resident_mix_ingress (bytes) = "worker_resident_memory" { worker: "mix-ingress" },
        /// Memory of the process of this role that is in the machine's memory.
        gauge resident_mix_egress (bytes) = "worker_resident_memory" { worker: "mix-egress" },
        /// Memory of the process of this role that is in the machine's memory.
        gauge resident_client_edge (bytes) = "worker_resident_memory" { worker: "client-edge" },
        /// Memory of the process of this role that is in the machine's memory.
        gauge resident_store (bytes) = "worker_resident_memory" { worker: "store" },
        /// Memory of the process of this role that is in the machine's memory.
        gauge resident_http_api (bytes) = "worker_resident_memory" { worker: "http-api" },
        /// Descriptors that the process of this role has open.
        gauge descriptors_mix_ingress = "worker_descriptors" { worker: "mix-ingress" },
        /// Descriptors that the process of this role has open.
        gauge descriptors_mix_egress = "worker_descriptors" { worker: "mix-egress" },
        /// Descriptors that the process of this role has open.
        gauge descriptors_client_edge = "worker_descriptors" { worker: "client-edge" },
        /// Descriptors that the process of this role has open.
        gauge descriptors_store = "worker_descriptors" { worker: "store" },
        /// Descriptors that the process of this role has open.
        gauge descriptors_http_api = "worker_descriptors" { worker: "http-api" },
        /// 1 if new clients are let in, 0 after `gatewayd drain`.
        gauge admits_newcomers,
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_received = "balance_off" { packets: "received" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_delivered = "balance_off" { packets: "delivered" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_accepted = "balance_off" { packets: "accepted" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_acks = "balance_off" { packets: "acks" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_acks_on_link = "balance_off" { packets: "acks_on_link" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_clients_packets = "balance_off" { packets: "clients_packets" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_clients_packets_on_link = "balance_off" { packets: "clients_packets_on_link" },
        /// Packets that a sum does not account for: 0, or a fault of the program. Above the table stands what the sums are.
        gauge balance_off_forwarded = "balance_off" { packets: "forwarded" },
    }
    refusals {}
    conditions {}
}

/// What the supervisor shows of one worker.
#[derive(Debug)]
pub struct OfWorker<'a> {
    /// Deaths that were no orderly end.
    pub deaths: &'a Number,
    /// 1 if it is at work.
    pub ready: &'a Number,
    /// Bytes of its memory that are in the machine's memory.
    pub resident: &'a Number,
    /// Its open descriptors.
    pub descriptors: &'a Number,
}

/// The fields of `balance_off`, in the order of [`balance::ALL`](crate::balance::ALL).
pub const BALANCE_OFF: [&str; 8] = [
    "balance_off_received",
    "balance_off_delivered",
    "balance_off_accepted",
    "balance_off_acks",
    "balance_off_acks_on_link",
    "balance_off_clients_packets",
    "balance_off_clients_packets_on_link",
    "balance_off_forwarded",
];

impl SupervisorFigures {
    /// By how much each sum is off, in the order of [`balance::ALL`](crate::balance::ALL).
    pub const fn balance_off(&self) -> [&Number; 8] {
        [
            &self.balance_off_received,
            &self.balance_off_delivered,
            &self.balance_off_accepted,
            &self.balance_off_acks,
            &self.balance_off_acks_on_link,
            &self.balance_off_clients_packets,
            &self.balance_off_clients_packets_on_link,
            &self.balance_off_forwarded,
        ]
    }

    /// The figures about the worker of `role`.
    pub const fn of(&self, role: Role) -> OfWorker<'_> {
        match role {
            Role::MixIngress => OfWorker {
                deaths: &self.deaths_mix_ingress,
                ready: &self.ready_mix_ingress,
                resident: &self.resident_mix_ingress,
                descriptors: &self.descriptors_mix_ingress,
            },
            Role::MixEgress => OfWorker {
                deaths: &self.deaths_mix_egress,
                ready: &self.ready_mix_egress,
                resident: &self.resident_mix_egress,
                descriptors: &self.descriptors_mix_egress,
            },
            Role::ClientEdge => OfWorker {
                deaths: &self.deaths_client_edge,
                ready: &self.ready_client_edge,
                resident: &self.resident_client_edge,
                descriptors: &self.descriptors_client_edge,
            },
            Role::Store => OfWorker {
                deaths: &self.deaths_store,
                ready: &self.ready_store,
                resident: &self.resident_store,
                descriptors: &self.descriptors_store,
            },
            Role::HttpApi => OfWorker {
                deaths: &self.deaths_http_api,
                ready: &self.ready_http_api,
                resident: &self.resident_http_api,
                descriptors: &self.descriptors_http_api,
            },
        }
    }
}
