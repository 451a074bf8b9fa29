//! `potluck`: see `cli`.

fn main() -> std::process::ExitCode {
    potluck_node::cli::main()
}
