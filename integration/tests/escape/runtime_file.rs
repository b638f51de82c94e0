//! The runtime's own file, by /proc/self/exe (CVE-2019-5736): an exec into a container executes a script whose
//! interpreter is /proc/self/exe, which is the runtime; who waits in the container opens that process's executable, lets
//! it end, and writes.
//!
//! Aimed at a copy of runc in the world's own memory, so that nothing is endangered that others use. No runc here has
//! the fault: what the container holds in the end is a sealed copy, or the file behind a read-only mount.

use coaming_integration::{
    BareRuntime, Bundle, Error, Runtime, Suite, World, can_run, configuration, default_spec,
    wait_for,
};

const OWN: &str = "/run/own";
const MARK: &str = "overwritten by a container";

/// Waits for a process that is of no file of the image, holds its executable, lets it go on, and writes to it when
/// nobody executes it any more.
const WATCH: &str = r#"
while [ ! -e /held ]; do
    for process in /proc/[0-9]*; do
        case $(readlink $process/exe) in
        /bin/* | '') ;;
        *) exec 9<$process/exe && readlink $process/exe >/held && break ;;
        esac
    done
done
cat /fifo >/dev/null
tries=0
while [ $tries -lt 100 ]; do
    tries=$((tries + 1))
    (exec 8<>/proc/self/fd/9 && echo 'MARK' >&8) 2>/said && echo written >/said && break
    grep -q busy /said || break
    sleep 0.05
done
mv /said /result
exec sleep 1000
"#;

struct Trial<'a> {
    world: &'a World,
    runtime: Runtime,
    /// The private copy.
    copy: String,
}

impl Trial<'_> {
    /// A container that waits for the runtime to come, which waits at its log until somebody reads.
    fn trap(&self, id: &str) -> Result<Bundle<'_>, Error> {
        let watch = WATCH.replace("MARK", MARK);
        let bundle = Bundle::new(self.world, id, &default_spec(id, ["sh", "-c", &watch])?)?;
        let suite = match self.runtime {
            Runtime::Runc(suite) | Runtime::Crun(suite) => suite,
        };
        let libraries = suite.libraries().display().to_string();
        let script = format!(
            "cd {}/rootfs && mkfifo fifo && mkdir -p .{libraries} && cp -a {libraries}/. .{libraries}/ && \
             printf '#!/proc/self/exe --log=/fifo\\n' >evil && chmod 755 evil",
            bundle.path().display()
        );
        self.world.run(["sh", "-c", &script])?.ok("an image")?;
        Ok(bundle)
    }

    /// What the container said of it in the end, and which file it held.
    fn result(&self, bundle: &Bundle<'_>) -> Result<(String, String), Error> {
        let file = |name: &str| bundle.path().join("rootfs").join(name);
        let said = wait_for("the container's attempt", || {
            Ok(self.world.read(file("result")).ok().filter(|said| !said.is_empty()))
        })?;
        Ok((said, self.world.read(file("held"))?))
    }

    fn digests(&self) -> Result<String, Error> {
        let line = format!(
            "sha256sum {} /usr/libexec/coaming/* /usr/bin/containerd-shim-coaming-v1",
            self.copy
        );
        Ok(self.world.run(["sh", "-c", &line])?.ok("sha256sum")?.stdout)
    }
}

#[test]
fn a_container_does_not_overwrite_its_runtime() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in Suite::ALL.map(Runtime::Runc) {
        let world = World::new()?;
        world.install_coaming()?;
        let real = runtime.path().display().to_string();
        let copy = format!("{OWN}/{}", real.rsplit('/').next().unwrap_or_default());
        let text = configuration(runtime, "baseline").replace(&real, &copy);
        world.write("/etc/coaming/config.toml", text, 0o644)?;
        world.run(["sh", "-c", &format!("mkdir {OWN} && cp {real} {copy}")])?.ok("a copy")?;
        let trial = Trial { world: &world, runtime, copy: copy.clone() };
        let before = trial.digests()?;
        for (id, binary) in [("stock", copy.clone().into()), ("gated", runtime.wrapper_path())] {
            let bundle = trial.trap(id)?;
            let binary = BareRuntime::new(binary);
            binary.start(&bundle)?.ok("run")?;
            let exec = binary.exec(&bundle, &[], &["/evil", "list"])?;
            let (said, held) = trial.result(&bundle)?;
            eprintln!("{runtime}, {id}: held {}, {}", held.trim(), said.trim());
            // It was the runtime, and not a file of the image.
            assert!(held.contains("runc"), "{held} {exec:?}");
            assert!(!said.contains("written"), "{runtime}, {id}: {said}");
            assert_eq!(trial.digests()?, before, "{runtime}, {id}");
            binary.delete(&bundle)?;
        }
    }
    Ok(())
}
