//! Our unwrapping of packets beside that of `sphinx-packet`, as anybody outside sees it.

#[cfg(test)]
mod differential;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod sender;
