//! The program itself, built beside the tests that start it, so that they never meet an old one.

fn main() -> std::process::ExitCode {
    potluck_node::cli::main()
}
