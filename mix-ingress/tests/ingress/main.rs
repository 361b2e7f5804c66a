//! `mix-ingress` between a mix node, a `store` and a `mix-egress` that do what the test says, over real sockets.

#[cfg(test)]
mod connections;
#[cfg(test)]
mod deliveries;
#[cfg(test)]
mod ending;
#[cfg(test)]
mod packets;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod process;
#[cfg(test)]
mod replays;
#[cfg(test)]
mod rig;
