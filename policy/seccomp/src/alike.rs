//! Does a profile say what it means? A runtime gives rules to libseccomp one by one, and what comes of some of them
//! depends on their order, on their kind, and on libseccomp's faults (facts in `pitfalls.rs`). Where a profile is held to
//! a floor and found within it, that finding is worth as much as its reading.

use super::cube::Cube;
use super::emit::Emission;
use super::function::{Function, Reading};
use super::order;
use super::syscalls::MULTIPLEXERS;
use super::{Profile, SeccompError};

impl Profile {
    /// Whether the profile is written so that every runtime makes of it the [`Function`] that is read here: one rule
    /// without conditions for a call, or disjoint ones of `SCMP_CMP_MASKED_EQ` on different arguments, and nothing that
    /// opens `socketcall` or `ipc` further than the calls behind them. What [`Function::to_profile`] writes is.
    ///
    /// Ranges, for one, are not: of two on one argument libseccomp lets values through that both refuse. A conditional
    /// grant of `socket` is not where i386 is covered: libseccomp adds `socketcall(SYS_SOCKET)` without the condition.
    ///
    /// # Errors
    /// Those of [`Function::of`].
    pub fn is_read_alike(&self) -> Result<bool, SeccompError> {
        let Ok(emission) = Emission::as_written(self) else {
            return Ok(false);
        };
        let one_reading = emission.calls.values().all(|rules| match rules.as_slice() {
            [_] => true,
            rules => rules.iter().enumerate().all(|(at, (cube, _))| {
                let others = rules.iter().skip(at + 1);
                *cube != Cube::ANY
                    && others.into_iter().all(|(other, _)| cube.intersect(other).is_none())
            }),
        });
        // A rule that equals the default is dropped by runtimes, and is no exception from another for the same call.
        let dropped = |name: &str| {
            let own = self.rules.iter().filter(|rule| rule.names.iter().any(|n| n == name));
            own.into_iter().any(|rule| rule.action == self.default)
        };
        if !one_reading || emission.calls.keys().any(|name| dropped(name)) {
            return Ok(false);
        }
        let function = Function::of(self, Reading::Runtime)?;
        let muxed = emission.arches.iter().filter(|arch| arch.has_multiplexer());
        Ok(muxed.into_iter().all(|arch| {
            MULTIPLEXERS.iter().all(|mux| {
                let call = function.call(mux.name);
                let bound = if arch.is_narrow() { &call.narrow } else { &call.wide };
                emission.says_of(*arch, mux).is_some_and(|table| order::le(&table, bound))
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn alike(default: &str, arches: Value, rules: Value) -> bool {
        let value = json!({"defaultAction": default, "architectures": arches, "syscalls": rules});
        Profile::from_oci(&value).unwrap().is_read_alike().unwrap()
    }

    fn socket(action: &str, op: &str, value: u64) -> Value {
        json!({"names": ["socket"], "action": action, "args": [{"index": 0, "value": value, "op": op}]})
    }

    const ERRNO: &str = "SCMP_ACT_ERRNO";
    const ALLOW: &str = "SCMP_ACT_ALLOW";

    #[test]
    fn plain_lists_are_read_alike_and_contradictions_are_not() {
        let list = json!([{"names": ["read", "socket"], "action": ALLOW}]);
        assert!(alike(ERRNO, json!(["SCMP_ARCH_X86"]), list));
        let twice = json!([{"names": ["read"], "action": ALLOW}, {"names": ["read"], "action": "SCMP_ACT_KILL_PROCESS"}]);
        assert!(!alike(ERRNO, json!([]), twice));
        let cancelled =
            json!([{"names": ["read"], "action": ALLOW}, {"names": ["read"], "action": ERRNO}]);
        assert!(!alike(ERRNO, json!([]), cancelled));
    }

    #[test]
    fn conditions_are_read_alike_as_disjoint_masks_alone() {
        let masked = |mask: u64, value: u64| {
            json!({"names": ["clone"], "action": ALLOW,
                "args": [{"index": 0, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}]})
        };
        assert!(alike(ERRNO, json!([]), json!([masked(0xff, 1), masked(0xff, 2)])));
        assert!(!alike(ERRNO, json!([]), json!([masked(0xf, 1), masked(0xf0, 0x10)])));
        assert!(!alike(
            ERRNO,
            json!([]),
            json!([masked(0xff, 1), {"names": ["clone"], "action": ALLOW}])
        ));
        for op in ["SCMP_CMP_LT", "SCMP_CMP_GE", "SCMP_CMP_NE", "SCMP_CMP_EQ"] {
            assert!(!alike(ERRNO, json!([]), json!([socket(ALLOW, op, 38)])), "{op}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_grant_with_a_condition_opens_socketcall() {
        let grant = json!({"names": ["socket"], "action": ALLOW,
            "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]});
        let socketcall = json!({"names": ["socketcall"], "action": "SCMP_ACT_KILL_PROCESS"});
        assert!(alike(ERRNO, json!([]), json!([grant])));
        assert!(!alike(ERRNO, json!(["SCMP_ARCH_X86"]), json!([grant])));
        assert!(alike(ERRNO, json!(["SCMP_ARCH_X86"]), json!([grant, socketcall])));
    }
}
