//! `hiclaw-sync`: brings a worker's files and its bucket prefix together, by hand or on an agent's request.

fn main() -> std::process::ExitCode {
    hiclaw_sync::main()
}
