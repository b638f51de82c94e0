//! The steps, in the order in which the reader sees them.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use coaming_integration::cri::{ContainerSpec, Pod, Profile, Sandbox};
use coaming_integration::{Cri, Error, Node, images, leftovers};

use crate::attacks::{Attack, Outcome};
use crate::explain::Explained;
use crate::page::Page;
use crate::setting::{self, NAMESPACE, POLICY_PATH, Setting};

/// How long a container may take over its attacks.
const LIMIT: Duration = Duration::from_secs(60);

/// The same container twice.
pub(crate) struct Pods {
    stock: Running,
    coaming: Running,
}

struct Running {
    sandbox: Sandbox,
    container: String,
}

pub(crate) fn node(page: &mut Page) -> Result<(), Error> {
    page.step("A node of its own")?;
    page.say(
        "A private containerd, in namespaces of its own on memory of its own, beside whatever this \
         machine runs. (What is not built yet is built now: the first time takes minutes.)",
    )
}

pub(crate) fn node_started(page: &mut Page, node: &Node) -> Result<(), Error> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let suite = node.config().containerd.suite();
    page.verbatim(&format!(
        "from Debian {suite}: {}\nkernel: {}\n\
         handlers: runc = the stock shim with runc, coaming = the stock shim with coaming-runc",
        setting::versions(suite),
        release.trim(),
    ))
}

pub(crate) fn policy(page: &mut Page, setting: &Setting) -> Result<(), Error> {
    page.step("Its policy")?;
    page.say(&format!(
        "{POLICY_PATH}; beneath it lies the built-in floor `baseline`, which forbids what the Pod \
         Security Standard of that name forbids."
    ))?;
    page.verbatim(&setting.policy())?;
    if setting.is_best_effort() {
        page.say(
            "This kernel is older than 6.10 and lacks some of these Landlock rights. Without the \
             last line no container would start; with it the record says what is missing.",
        )?;
    }
    Ok(())
}

/// A pod on the node's network: allowed to everyone by stock runc, refused by the floor.
pub(crate) fn refused(page: &mut Page, cri: &Cri<'_>) -> Result<(), Error> {
    page.step("A pod that is refused")?;
    page.say(
        "A pod with `hostNetwork: true` cannot be given less and still be what it is, so it is \
         refused. `kubectl describe pod` shows:",
    )?;
    let pod = |handler: &str| Pod {
        host_network: true,
        namespace: NAMESPACE.to_owned(),
        ..Pod::new(&format!("sniffer-{handler}"), handler)
    };
    match cri.run_pod(&pod("coaming")) {
        Err(Error::Cri { message, .. }) => {
            page.quote(&format!(
                "Warning FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = \
                 {message}"
            ))?;
            for word in ["coaming refused", "baseline", "spec.hostNamespaces"] {
                let wrong = format!("the refusal does not say {word:?}");
                page.check(message.contains(word), &wrong)?;
            }
        }
        Err(error) => return Err(error),
        Ok(sandbox) => {
            cri.remove_pod(&sandbox)?;
            page.check(false, "the pod on the node's network was not refused")?;
        }
    }
    let stock = cri.run_pod(&pod("runc"))?;
    cri.remove_pod(&stock)?;
    page.say("Under the handler `runc` the same pod runs.")
}

/// Starts the greedy container under both handlers; it attacks at once.
pub(crate) fn pods(page: &mut Page, cri: &Cri<'_>, attacks: &[Attack]) -> Result<Pods, Error> {
    page.step("A pod that asks for too much")?;
    page.say("Started through CRI, as the kubelet does: once with the handler `runc`, once with `coaming`.")?;
    page.verbatim(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: till, namespace: {NAMESPACE}}}\nspec:\n  \
           runtimeClassName: coaming\n  \
           containers:\n  - name: till\n    image: {image}\n    securityContext:\n      \
               privileged: true\n      allowPrivilegeEscalation: true\n      \
               seccompProfile: {{type: Unconfined}}",
        image = images::PROBE
    ))?;
    let stock = start(cri, "runc", attacks)?;
    let coaming = start(cri, "coaming", attacks)?;
    page.say("Both run.")?;
    Ok(Pods { stock, coaming })
}

pub(crate) fn explained(page: &mut Page, node: &Node, pods: &Pods) -> Result<(), Error> {
    page.step("What it asked and what it got")?;
    let short: String = pods.coaming.container.chars().take(12).collect();
    page.say(&format!(
        "`coaming explain --container {short}` tells it from the record. In short:"
    ))?;
    let cli = "/usr/libexec/coaming/coaming";
    let said = node.world().run([cli, "explain", "--container", &short, "--output", "json"])?;
    let explained = Explained::read(&said.clone().ok("coaming explain")?.stdout)?;
    let rows = explained.rows();
    page.table(["field", "asked", "got", "policy:line"], &rows)?;
    for field in
        ["process.capabilities", "process.noNewPrivileges", "linux.seccomp", "linux.devices"]
    {
        let wrong = format!("`coaming explain` does not tell of {field}");
        page.check(rows.iter().any(|[known, ..]| known == field), &wrong)?;
    }
    for lost in explained.degraded() {
        page.say(&format!("By leave of bestEffort: {lost}"))?;
    }
    let (held, mismatches) = explained.kernel();
    page.say(&format!(
        "The kernel's own word on the running process, held against the policies, agrees: {}.",
        held.join(", ")
    ))?;
    for mismatch in &mismatches {
        page.check(false, &format!("the kernel says otherwise: {mismatch}"))?;
    }
    page.check(
        held.contains(&"capabilities") && held.contains(&"seccomp"),
        "the kernel's word on capabilities and seccomp was not had",
    )
}

pub(crate) fn attacked(
    page: &mut Page,
    cri: &Cri<'_>,
    pods: &Pods,
    attacks: &[Attack],
) -> Result<(), Error> {
    page.step("Five attacks")?;
    page.say(
        "Each is tried for real, and undone: by the container's own process under each handler, and \
         by a process that `exec` starts in the container under coaming.",
    )?;
    let stock = logged(cri, &pods.stock.container, attacks)?;
    let init = logged(cri, &pods.coaming.container, attacks)?;
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for ((attack, stock), init) in attacks.iter().zip(stock).zip(init) {
        let said = cri.exec_sync(&pods.coaming.container, ["sh", "-c", attack.command])?;
        let exec = Outcome::read(said.text().lines().last().unwrap_or_default())?;
        rows.push([
            attack.what.to_owned(),
            stock.cell(),
            init.cell(),
            exec.cell(),
            attack.control.to_owned(),
        ]);
        if stock != Outcome::Works {
            wrong.push(format!("under stock runc it should work to {}: {stock:?}", attack.what));
        }
        for (outcome, whose) in [(init, "its own process"), (exec, "an exec")] {
            if !outcome.fails() {
                wrong.push(format!(
                    "under coaming {whose} should not be able to {}: {outcome:?}",
                    attack.what
                ));
            }
        }
    }
    let head = ["attack", "stock runc", "coaming: init", "coaming: exec", "stopped by"];
    page.table(head, &rows)?;
    for wrong in wrong {
        page.check(false, &wrong)?;
    }
    Ok(())
}

/// containerd asks for an exec what the container asked for: all capabilities, no seccomp.
pub(crate) fn executed(page: &mut Page, cri: &Cri<'_>, pods: &Pods) -> Result<(), Error> {
    page.step("An exec gets no more")?;
    page.say(
        "`kubectl exec` asks for what the container asked for, all capabilities and no filter, and \
         runc alone would give it. The kernel's word on a process so started, /proc/self/status:",
    )?;
    const FIELDS: [&str; 3] = ["CapEff", "NoNewPrivs", "Seccomp"];
    // The capability that the policy allows: CAP_NET_BIND_SERVICE, number 10.
    const FLOOR: [&str; 3] = ["0000000000000400", "1", "2"];
    let of = |container: &str| -> Result<[String; 3], Error> {
        let said = cri
            .exec_sync(container, ["cat", "/proc/self/status"])?
            .ok("cat /proc/self/status")?
            .stdout;
        Ok(FIELDS.map(|field| {
            said.lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| *name == field)
                .map_or_else(String::new, |(_, value)| value.trim().to_owned())
        }))
    };
    let stock = of(&pods.stock.container)?;
    let coaming = of(&pods.coaming.container)?;
    let rows: Vec<[String; 3]> = FIELDS
        .iter()
        .zip(stock.iter().zip(&coaming))
        .map(|(field, (stock, coaming))| [(*field).to_owned(), stock.clone(), coaming.clone()])
        .collect();
    page.table(["", "stock runc", "coaming"], &rows)?;
    page.check(coaming == FLOOR, &format!("the exec should have {FLOOR:?}"))?;
    page.check(
        stock.iter().zip(FLOOR).all(|(stock, floor)| stock != floor),
        "the exec under stock runc is confined already",
    )
}

pub(crate) fn removed(
    page: &mut Page,
    node: &Node,
    cri: &Cri<'_>,
    pods: Pods,
) -> Result<(), Error> {
    page.step("Nothing is left")?;
    for pod in [pods.stock, pods.coaming] {
        cri.stop(&pod.container, 0)?;
        cri.remove(&pod.container)?;
        cri.remove_pod(&pod.sandbox)?;
    }
    let state = node
        .world()
        .run(["find", "/run/coaming/containers", "/run/coaming/launch", "-mindepth", "1"])?
        .ok("find /run/coaming")?
        .stdout;
    page.check(state.is_empty(), &format!("coaming left {state}"))?;
    page.say("The pods are removed, and coaming's records of them with them.")
}

pub(crate) fn nothing_left(page: &mut Page, before: &BTreeSet<String>) -> Result<(), Error> {
    let mut left = leftovers::of(&format!("coaming-world-{}-", std::process::id()))?;
    let after = leftovers::footprint()?;
    left.extend(after.difference(before).cloned());
    let gone: Vec<String> = before.difference(&after).cloned().collect();
    for found in &left {
        page.check(false, &format!("left behind: {found}"))?;
    }
    for missing in &gone {
        page.check(false, &format!("gone from this machine: {missing}"))?;
    }
    if left.is_empty() && gone.is_empty() {
        page.say(
            "The node is gone: no process, mount, cgroup, network interface or file of it is left on \
             this machine. What was built and what was installed to build it stay.",
        )?;
    }
    Ok(())
}

fn start(cri: &Cri<'_>, handler: &str, attacks: &[Attack]) -> Result<Running, Error> {
    let sandbox = cri.run_pod(&Pod {
        namespace: NAMESPACE.to_owned(),
        privileged: true,
        ..Pod::new(&format!("till-{handler}"), handler)
    })?;
    let attacks: String = attacks.iter().map(|attack| format!("{}; ", attack.command)).collect();
    let spec = ContainerSpec {
        privileged: true,
        seccomp: Some(Profile::Unconfined),
        ..ContainerSpec::new(
            "till",
            images::PROBE,
            ["sh", "-c", &format!("{attacks}exec sleep 1000")],
        )
    };
    let container = cri.launch(&sandbox, &spec)?;
    Ok(Running { sandbox, container })
}

/// What the container itself has to say of its attacks, once it has tried them all.
fn logged(cri: &Cri<'_>, container: &str, attacks: &[Attack]) -> Result<Vec<Outcome>, Error> {
    let start = Instant::now();
    loop {
        let said = cri.logs(container)?;
        if said.stdout.lines().count() >= attacks.len() {
            return said.stdout.lines().map(Outcome::read).collect();
        }
        if start.elapsed() > LIMIT {
            return Err(Error::NotReady {
                what: format!("the attacks in container {container}"),
                seconds: LIMIT.as_secs(),
                log: said.text(),
            });
        }
        sleep(Duration::from_millis(20));
    }
}
