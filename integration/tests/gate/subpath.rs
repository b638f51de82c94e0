//! A volume's `subPath`: a source in the pod's own folder, behind which the kubelet has mounted something else.

use coaming_integration::{Bundle, Error, can_run};
use serde_json::{Value, json};

use crate::setup::{Bench, runtimes, says};

const POD: &str = "/var/lib/kubelet/pods/7f6c0a52";
const SECRET: &str = "of the node\n";

/// What the kubelet does for `hostPath: /` with `subPath: etc`, for an `emptyDir` with `subPath: x`, and what it
/// leaves where it could not mount.
const KUBELET: &str = "set -e
empty=$POD/volumes/kubernetes.io~empty-dir/empty/x
mkdir -p $empty $POD/volume-subpaths/host/c/0 $POD/volume-subpaths/empty/c/1 $POD/volume-subpaths/none/c/2
echo of the pod >$empty/file
mount --bind /etc $POD/volume-subpaths/host/c/0
mount --bind $empty $POD/volume-subpaths/empty/c/1";

fn reader<'a>(bench: &'a Bench, id: &str, below: &str, file: &str) -> Result<Bundle<'a>, Error> {
    let path = format!("/v/{file}");
    bench.bundle(id, &["cat", &path], |spec| {
        if let Value::Array(mounts) = &mut spec["mounts"] {
            mounts.push(
                json!({"destination": "/v", "type": "bind", "source": format!("{POD}{below}"),
                "options": ["rbind", "rprivate", "rw"]}),
            );
        }
    })
}

#[test]
fn what_is_behind_a_subpath_is_judged() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        bench.world.write("/etc/secret", SECRET, 0o600)?;
        bench.shell(&format!("POD={POD}\n{KUBELET}"))?.ok("mount as the kubelet does")?;

        // The folder itself, and what comes along with the folders above it.
        let attacks = [
            ("a", "/volume-subpaths/host/c/0", "secret"),
            ("b", "/volume-subpaths/host", "c/0/secret"),
            ("c", "", "volume-subpaths/host/c/0/secret"),
        ];
        for (id, below, file) in attacks {
            let stock =
                bench.stock.run(&reader(&bench, &format!("stock-{id}"), below, file)?, b"")?;
            assert_eq!(stock.stdout, SECRET, "{below}: {stock:?}");
            let gated =
                bench.gated.run(&reader(&bench, &format!("gated-{id}"), below, file)?, b"")?;
            assert_eq!((gated.code, gated.stdout.as_str()), (1, ""), "{below}: {gated:?}");
            let behind = format!("behind {POD}{below} is /etc of the node");
            says(&gated.stderr, &["spec.mounts) refuses", &behind]);
        }
        let none = reader(&bench, "none", "/volume-subpaths/none/c/2", "file")?;
        let refused = bench.gated.run(&none, b"")?;
        says(&refused.stderr, &["spec.mounts) refuses", "could not be told"]);

        let own = reader(&bench, "own", "/volume-subpaths/empty/c/1", "file")?;
        let admitted = bench.gated.run(&own, b"")?;
        assert_eq!((admitted.code, admitted.stdout.as_str()), (0, "of the pod\n"), "{admitted:?}");
    }
    Ok(())
}
