//! The whole process without its jail, between clients on loopback and a `store` that does what the test says.

mod authentication;
mod client;
mod forwarding;
mod gateway;
mod half_messages;
mod hostile;
mod http;
mod life;
mod limits;
mod mail;
mod proxies;
mod real_proxies;
mod registration;
