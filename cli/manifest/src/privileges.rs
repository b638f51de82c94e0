//! Capabilities, `noNewPrivileges` and `privileged` (containerd internal/cri/opts, WithCapabilities;
//! pkg/oci, WithPrivileged; kubelet pkg/securitycontext, AddNoNewPrivileges).

use serde_json::{Value, json};

use crate::error::ManifestError;
use crate::field::Field;

/// containerd's default capabilities (pkg/oci/spec.go, defaultUnixCaps).
const DEFAULTS: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What a container is given of root's power.
#[derive(Debug)]
pub(crate) struct Privileges {
    pub(crate) privileged: bool,
    pub(crate) no_new_privileges: bool,
    /// The bounding, effective and permitted set.
    pub(crate) capabilities: Vec<String>,
}

impl Privileges {
    pub(crate) fn of(
        container: &Field<'_>,
        approximations: &mut Vec<String>,
    ) -> Result<Privileges, ManifestError> {
        let security = container.get("securityContext")?;
        let privileged = security.get("privileged")?.is_true()?;
        let escalation = security.get("allowPrivilegeEscalation")?.boolean()?;
        let add = security.at(&["capabilities", "add"])?.strings()?;
        let drop = security.at(&["capabilities", "drop"])?.strings()?;
        let has =
            |list: &[&str], name: &str| list.iter().any(|item| item.eq_ignore_ascii_case(name));
        if escalation == Some(false)
            && (privileged || has(&add, "SYS_ADMIN") || has(&add, "CAP_SYS_ADMIN"))
        {
            approximations.push(
                "allowPrivilegeEscalation: false beside privileged or SYS_ADMIN: the API server refuses the pod"
                    .to_owned(),
            );
        }
        let mut capabilities: Vec<String> = DEFAULTS.map(str::to_owned).into();
        if privileged || has(&add, "ALL") {
            approximations.push(
                "all capabilities are those that containerd has on the node; taken as all that are known"
                    .to_owned(),
            );
            capabilities = all();
        }
        if !privileged {
            if has(&drop, "ALL") {
                capabilities.clear();
            }
            for name in named(&add) {
                if !capabilities.contains(&name) {
                    capabilities.push(name);
                }
            }
            let dropped: Vec<String> = named(&drop).collect();
            capabilities.retain(|name| !dropped.contains(name));
        }
        Ok(Privileges { privileged, no_new_privileges: escalation == Some(false), capabilities })
    }

    /// Those of the sandbox: containerd leaves its defaults (internal/cri/server/podsandbox).
    pub(crate) fn of_sandbox() -> Privileges {
        Privileges {
            privileged: false,
            no_new_privileges: true,
            capabilities: DEFAULTS.map(str::to_owned).into(),
        }
    }

    /// `process.capabilities`. containerd gives no inheritable and no ambient ones.
    pub(crate) fn sets(&self) -> Value {
        let set = &self.capabilities;
        json!({"bounding": set, "effective": set, "permitted": set})
    }
}

/// As containerd spells them: it puts `CAP_` before whatever is named.
fn named<'a>(list: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    list.iter()
        .filter(|name| !name.eq_ignore_ascii_case("ALL"))
        .map(|name| format!("CAP_{}", name.to_uppercase()))
}

/// Every capability, in the kernel's order.
fn all() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(|capability| capability.index());
    all.iter().map(ToString::to_string).collect()
}
