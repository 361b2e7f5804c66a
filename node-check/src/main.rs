//! Looks at a gateway from outside, for `gatewayd node-check`.

fn main() -> std::process::ExitCode {
    node_check::main()
}
