//! `containerd-shim-coaming-v1`: the containerd shim of a pod.

use std::process::ExitCode;

fn main() -> ExitCode {
    containerd_shim_coaming::run()
}
