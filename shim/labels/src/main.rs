//! `coaming-labels --address SOCKET -- ID`: the labels of a container in containerd's namespace of pods, as a JSON object.
//!
//! A program of its own, so that the wrapper, which runs at every start, has no client of gRPC in it. It is run
//! where a policy goes by labels, and then once for a pod.

mod containers;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use containers::Containers;

/// The namespace of containerd's CRI plugin (`internal/cri/constants`).
const PODS: &str = "k8s.io";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [address, socket, end, id] = arguments.as_slice() else {
        return failed("say --address SOCKET -- ID");
    };
    let (true, Some(id)) = (address == "--address" && end == "--", id.to_str()) else {
        return failed("say --address SOCKET -- ID");
    };
    let containers = Containers { socket: PathBuf::from(socket), namespace: PODS };
    let labels = match containers.labels(id) {
        Ok(labels) => labels,
        Err(why) => {
            return failed(&format!(
                "cannot ask containerd at {} for container {id:?}: {why}",
                socket.display()
            ));
        }
    };
    let told = serde_json::to_writer(io::stdout().lock(), &labels).map_err(io::Error::from);
    match told.and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format!("cannot write to standard output: {error}")),
    }
}

fn failed(why: &str) -> ExitCode {
    // Nothing is left to tell where this fails.
    let _ = writeln!(io::stderr(), "coaming-labels: {why}");
    ExitCode::FAILURE
}
