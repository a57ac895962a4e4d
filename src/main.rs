//! The command `xrfit`.

fn main() {}
