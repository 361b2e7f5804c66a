//! A role that is taken over: one worker is replaced by a program of the attacker's, in the same jail and with the same links. It
//! gets nothing that its row in README.privsep.md does not give it, and takes no other role along; whatever it breaks, it is
//! replaced.

mod absent;
mod attached;
mod edge;
mod egress;
mod http_api;
mod ingress;
mod jail;
mod links;
mod store;
