//! What policies cost a start: CPU time of the whole wrapper, with one policy and with thousands. The
//! runtime behind it is a program that does nothing.

use coaming_integration::{Bundle, Error, Runtime, World, configuration, default_spec};

use crate::table::Table;

const STARTS: u32 = 100;
const RUNTIME: &str = "/run/nothing/runc";

/// # Errors
/// The harness's own.
pub(crate) fn measure(runtime: Runtime) -> Result<Table, Error> {
    let mut table = Table::new(
        format!("CPU time of the wrapper in one create, ms (mean of {STARTS})"),
        &["wrapper", "nothing alone"],
    );
    for (name, policies, to_a_file) in [
        ("1 policy", 1, 1),
        ("1,000 in as many files", 1000, 1),
        ("1,000 in a file", 1000, 1000),
        ("10,000 in ten files", 10_000, 1000),
    ] {
        let world = World::new()?;
        world.install_coaming()?;
        let config = configuration(runtime, "baseline")
            .replace(&format!("{:?}", runtime.path()), &format!("{RUNTIME:?}"));
        world.write("/etc/coaming/config.toml", config, 0o644)?;
        let nothing = format!("mkdir -p /run/nothing && cp -L /bin/true {RUNTIME}");
        world.run(["sh", "-c", &nothing])?.ok("cp")?;
        let mut text = String::new();
        for number in 0..policies {
            text += &format!(
                "---\napiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: policy-{number}}}\nspec:\n  \
                 match: {{namespaces: [team-{number}]}}\n  readOnlyRootFilesystem: true\n  \
                 capabilities: {{allow: [NET_BIND_SERVICE, KILL]}}\n  seccomp: {{denySyscalls: [keyctl, bpf]}}\n"
            );
            if (number + 1) % to_a_file == 0 {
                let text = std::mem::take(&mut text);
                world.write(format!("/etc/coaming/policy.d/{number:05}.yaml"), text, 0o644)?;
            }
        }
        world.run(["/usr/libexec/coaming/coaming", "load"])?.ok("coaming load")?;
        // Until a change of the files would have another time, and the snapshot alone is read.
        std::thread::sleep(std::time::Duration::from_secs(4));
        let mut spec = default_spec("measured", ["true"])?;
        if let Some(spec) = spec.as_object_mut() {
            let namespace = [("io.kubernetes.cri.sandbox-namespace".to_owned(), "team-0".into())];
            spec.insert(
                "annotations".to_owned(),
                serde_json::Value::Object(namespace.into_iter().collect()),
            );
        }
        let bundle = Bundle::new(&world, "measured", &spec)?;
        let wrapper = runtime.wrapper_path().display().to_string();
        let bare = cpu(&world, &bundle, RUNTIME)?;
        table.row(name, [cpu(&world, &bundle, &wrapper)? - bare, bare]);
    }
    Ok(table)
}

/// Milliseconds of one `create`, with the copying of its configuration.
fn cpu(world: &World, bundle: &Bundle<'_>, program: &str) -> Result<f64, Error> {
    let path = bundle.path();
    let path = path.display();
    // The second line is of the children (POSIX, times); in a pipeline it would be another shell's.
    let script = format!(
        "set -e; cd {path}; cp config.json asked.json; i=0\n\
         while [ $i -lt {STARTS} ]; do i=$((i+1)); cp asked.json config.json\n\
         {program} --root /run/bare create --bundle {path} c$i; done\n\
         cp asked.json config.json; times >/run/times; tail -n 1 /run/times"
    );
    let output = world.run(["sh", "-c", &script])?.ok("the creates")?;
    let seconds = |time: &str| {
        let (minutes, seconds) = time.trim_end_matches('s').split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let total: Option<f64> = output.stdout.split_whitespace().map(seconds).sum();
    total
        .filter(|total| *total > 0.0)
        .map(|total| total * 1000.0 / f64::from(STARTS))
        .ok_or_else(|| Error::Unavailable(format!("times said {:?}", output.stdout)))
}
