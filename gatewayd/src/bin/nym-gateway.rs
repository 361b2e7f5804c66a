//! The gateway under the name of its predecessor.

fn main() -> std::process::ExitCode {
    gatewayd::cli::main()
}
