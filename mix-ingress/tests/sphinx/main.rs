//! Our unwrapping of packets compared with that of `sphinx-packet`, through the public interface.

#[cfg(test)]
mod differential;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod sender;
