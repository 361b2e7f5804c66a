//! Asks validators one question for the supervisor.

fn main() -> std::process::ExitCode {
    validator_query::main()
}
