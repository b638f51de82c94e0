//! Types that come with a policy, brought into the kernel by `coaming load` and the real semodule(8).

use coaming_integration::Error;

use super::{Bench, READS, bench, is_refused, says};
use crate::setup::{doctor, unmet};

const COAMING: &str = "/usr/libexec/coaming/coaming";
const MODULE: &str = "/etc/coaming/policy.d/profiles/payments.cil";
const TYPE: &str = "(type process)
(roletype system_r process)
(typeattributeset domain (process))
(typeattributeset contained (process))
";
/// A store of modules with the guest's own policy in it. There are no homes, and no files to be relabelled.
const STORE: &str = "set -e
mkdir -p /etc/selinux/small/contexts/files /etc/selinux/small/policy /var/lib/selinux/small/active/modules
printf 'SELINUX=enforcing\\nSELINUXTYPE=small\\n' >/etc/selinux/config
cat >/etc/selinux/semanage.conf <<'END'
module-store = direct
policy-version = 33
expand-check = 0
handle-unknown = allow
usepasswd = false
disable-genhomedircon = true
[sefcontext_compile]
path = /bin/true
args = $@
[end]
[setfiles]
path = /bin/true
args = $@
[end]
[load_policy]
path = /usr/sbin/load_policy
args =
[end]
END
semodule --noreload --priority=100 --install=/run/base.cil
";

fn load(bench: &Bench) -> Result<String, Error> {
    Ok(bench.world.run([COAMING, "load", "--loosen"])?.ok("load")?.stdout)
}

#[test]
#[ignore = "runs in uml-selinux"]
fn a_module_that_comes_with_a_policy_is_loaded_and_its_type_confines() -> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    let base = std::fs::read("/run/job/base.cil").unwrap();
    bench.world.write("/run/base.cil", base, 0o644)?;
    bench.world.run(["sh", "-c", STORE])?.ok("make a store")?;
    let mut before = String::new();
    // What the module allows besides is read; a module that says something else has another type.
    for (word, rule) in
        [("reads", "(allow process other_t (file (getattr open read)))\n"), ("denied", "")]
    {
        bench.world.write(MODULE, format!("{TYPE}{rule}"), 0o644)?;
        bench.policy(
            "payments",
            "seLinux: {modules: [profiles/payments.cil], default: payments.process}",
        )?;
        let bundle = || bench.labelled(word, READS, |_| ());
        if word == "reads" {
            let refused = bench.gated.run(&bundle()?, b"")?;
            is_refused(&refused, &["no type coaming_payments_", ".process", "coaming load"]);
            let unmet = unmet(&doctor(&bench.world)?);
            says(&unmet["payments.yaml"], &["no type coaming_payments_", "would be refused"]);
            bench.world.run(["rm", "-rf", "/run/bundles/reads"])?;
        }
        let said = load(&bench)?;
        says(&said, &["SELinux module coaming_payments_", " loaded now"]);
        says(load(&bench)?, &["SELinux module coaming_payments_", " is loaded"]);
        assert_eq!(unmet(&doctor(&bench.world)?).len(), 0);
        let ran = bench.gated.run(&bundle()?, b"")?.ok("run")?.stdout;
        let name = said.split_once("SELinux module ").and_then(|(_, rest)| rest.split(' ').next());
        let name = name.unwrap_or_else(|| panic!("no name in {said}"));
        says(&ran, &[word, &format!("system_u:system_r:{name}.process:s0")]);
        assert_ne!(name, before);
        name.clone_into(&mut before);
    }
    // The one that nothing names any more stays, as is said of it.
    let listed = bench.world.run(["semodule", "--list-modules=full"])?.ok("semodule")?.stdout;
    assert_eq!(listed.matches("400 coaming_payments_").count(), 2, "{listed}");
    Ok(())
}
