//! The control: what it adds and takes away, and its laws.

use super::*;
use crate::controls::laws::{Generated, enforced, is_within};
use proptest::prelude::*;
use proptest::sample::subsequence;

fn rule(document: Value) -> Seccomp {
    let document = serde_json::from_value(document).unwrap();
    Seccomp::load(document, &mut |name| {
        Ok(match name {
            "no-keyctl.json" => br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["keyctl"],"action":"SCMP_ACT_ERRNO"}]}"#
                .to_vec(),
            _ => b"{}".to_vec(),
        })
    })
    .unwrap_or_else(|error| panic!("{error:?}"))
}

fn function(spec: &Value) -> Function {
    let profile = Profile::from_oci(&spec["linux"]["seccomp"]).unwrap();
    Function::of(&profile, Reading::Runtime).unwrap()
}

#[test]
fn an_unconfined_container_gets_the_floor_and_the_default() {
    let rule = rule(json!({"default": "runtime-default", "denySyscalls": ["io_uring_setup"]}));
    let after = function(&enforced(&rule, &json!({"process": {}})));
    let at = |name: &str| after.eval(Arch::native(), name, [0; 6]);
    assert!(at("io_uring_setup").is_refusal() && at("mount").is_refusal());
    assert!(!at("read").is_refusal());
}

#[test]
fn a_profile_of_its_own_is_met_with_the_floor_and_not_replaced() {
    let rule = rule(json!({"floor": "no-keyctl.json", "default": "runtime-default"}));
    let spec = json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}}});
    let after = function(&enforced(&rule, &spec));
    let at = |name: &str| after.eval(Arch::native(), name, [0; 6]);
    assert!(at("keyctl").is_refusal() && at("mount").is_refusal());
    // The default is for those who ask for none.
    assert!(!at("reboot").is_refusal());
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_is_within_the_floor_must_be_so_as_runtimes_read_it() {
    use crate::seccomp::{SeccompData, compile_as_written};
    // libseccomp makes of this grant one of socketcall(SYS_SOCKET) without the condition, so that a
    // 32-bit program has every family, the one that both refuse too.
    let grant = json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]});
    let asked = json!({"process": {}, "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}, grant]}}});
    let rule = rule(json!({"denySocketFamilies": ["AF_VSOCK"]}));
    assert!(function(&asked).le(&function(&enforced(&rule, &json!({"process": {}})))));
    let after = enforced(&rule, &asked);
    assert_ne!(after, asked);
    let written = Profile::from_oci(&after["linux"]["seccomp"]).unwrap();
    let program = compile_as_written(&written).unwrap();
    let socketcall = SeccompData {
        nr: 102,
        arch: Arch::X86.token(),
        instruction_pointer: 0,
        args: [1, 0, 0, 0, 0, 0],
    };
    assert_ne!(program.eval(&socketcall), 0x7fff_0000);
    // A list of names is left as it is.
    let plain = json!({"process": {}, "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"}]}}});
    assert_eq!(enforced(&rule, &plain), plain);
}

#[test]
fn capabilities_open_what_the_default_profile_gives_them() {
    let rule = rule(json!({"default": "runtime-default"}));
    let spec = json!({"process": {"capabilities": {"bounding": ["CAP_SYS_ADMIN"]}}});
    let after = function(&enforced(&rule, &spec));
    assert!(!after.eval(Arch::native(), "mount", [0; 6]).is_refusal());
}

#[test]
fn a_listener_is_refused() {
    let rule = rule(json!({"denySyscalls": ["keyctl"]}));
    let spec = json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/run/agent.sock",
        "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}}});
    assert!(!is_within(&rule, &spec) && is_within(&Seccomp::top(), &spec));
}

#[test]
fn what_is_built_in_passes_the_check_that_files_must_pass() {
    check_profile(builtin("runtime-default").unwrap()).unwrap();
}

#[test]
fn names_are_checked() {
    let load = |document: Value| {
        let document = match serde_json::from_value(document) {
            Ok(document) => document,
            Err(error) => return error.to_string(),
        };
        match Seccomp::load(document, &mut |_| {
            Ok(b"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"keyctrl\"],\"action\":\"SCMP_ACT_ERRNO\"}]}".to_vec())
        }) {
            Err(ProfileError::Content(message)) => message,
            other => panic!("{other:?}"),
        }
    };
    assert!(load(json!({"denySyscalls": ["io_uring_setp"]})).contains("io_uring_setup"));
    assert!(load(json!({"denySocketFamilies": ["AF_ALGO"]})).contains("AF_ALG"));
    assert!(load(json!({"architectures": ["x86"]})).contains("SCMP_ARCH"));
    assert!(load(json!({"floor": "typo.json"})).contains("keyctl"));
}

impl Generated for Seccomp {
    fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
        let names = ["keyctl", "mount", "read", "socket"];
        let strings = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let denied = subsequence(strings(&["keyctl", "mount", "socket"]), 0..=2);
        let seldom = || proptest::bool::weighted(0.3);
        let inputs = (denied, seldom(), seldom(), seldom(), seldom());
        let rules = inputs.prop_map(|(deny, x, y, beneath, log)| {
            let floor = x.then_some("no-keyctl.json");
            let families = if y { vec!["AF_ALG"] } else { vec![] };
            let rule = rule(json!({"denySyscalls": deny, "floor": floor, "log": log,
                "denySocketFamilies": families, "architectures": y.then(Vec::<String>::new)}));
            if beneath { rule.meet(&Seccomp::beneath_landlock()) } else { rule }
        });
        let asked = prop_oneof![
            subsequence(strings(&names), 1..=3),
            subsequence(strings(&["read", "write", "openat"]), 1..=3),
        ];
        let architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
        let architectures = (1usize..=3).prop_map(move |few| architectures[..few].to_vec());
        let asked = (asked, any::<bool>(), architectures);
        let specs = proptest::option::weighted(0.8, asked).prop_map(|asked| match asked {
            None => json!({"process": {}}),
            Some((names, deny, architectures)) => {
                let (default, action) = if deny {
                    ("SCMP_ACT_ALLOW", "SCMP_ACT_KILL_PROCESS")
                } else {
                    ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW")
                };
                json!({"linux": {"seccomp": {"defaultAction": default,
                    "architectures": architectures,
                    "syscalls": [{"names": names, "action": action}]}}})
            }
        });
        (rules.boxed(), specs.boxed())
    }
}

#[test]
fn only_architectures_of_both_stay() {
    let [both, one, none] =
        [json!(["SCMP_ARCH_X86", "SCMP_ARCH_ARM"]), json!(["SCMP_ARCH_X86"]), json!([])]
            .map(|names| rule(json!({"architectures": names})));
    assert_eq!(both.meet(&one), one);
    assert_eq!(both.meet(&none), none);
}
