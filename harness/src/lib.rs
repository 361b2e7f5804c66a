//! The whole system from outside: real processes, real sockets, clients and mix nodes as the network has them.
//!
//! A test starts a [`gateway::Gateway`] in a folder of its own and on ports of its own, talks to it with a
//! [`client::Client`] and a [`mixnode::MixNode`], and looks at its [`process`]es. Sphinx packets of 2021 are made and opened
//! by the library of 2021, so that no code checks itself; those of today by today's.
//!
//! Nothing here panics: what goes wrong is an error that says what was waited for, and the test returns it.

pub mod account;
pub mod ack_port;
pub mod addrs;
pub mod audit;
pub mod black_hole;
pub mod bystander;
pub mod client;
pub mod client_model;
pub mod connection;
pub mod counters;
pub mod crash_images;
pub mod deadline;
pub mod disk;
pub mod era;
pub mod gateway;
pub mod home;
pub mod hostiles;
pub mod http;
pub mod impostor;
pub mod inventory;
pub mod key_forms;
pub mod log;
pub mod log_oracle;
pub mod mix_model;
pub mod mixnode;
pub mod oracle;
pub mod other_jail;
pub mod output;
pub mod packet;
pub mod packet_today;
pub mod pong_filter;
pub mod process;
pub mod raw_websocket;
pub mod rogue;
pub mod scene;
pub mod shown;
pub mod source;
pub mod trace;
pub mod usage;
pub mod validator;
pub mod weak_jail;
