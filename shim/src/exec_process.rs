//! What `exec` without `--process` would have run: the OCI `process` object that the runtime builds
//! from the container's own process and the flags.
//!
//! The runtime is never left to build it: its result could not be judged. [`requested`] builds it,
//! the gate holds it to the floor, and the runtime is given the outcome as `--process`.
//!
//! The runtimes differ (runc `exec.go` `getProcess`; crun `exec.c` and `container.c`
//! `libcrun_container_exec_with_options`):
//!
//! | | runc | crun |
//! |---|---|---|
//! | base | the whole process of config.json | an empty process; what is absent below is filled in |
//! | cwd | the container's | `/` |
//! | user | flags over the container's, field by field | the container's; `--user` replaces all of it (gid 0, no groups) |
//! | groups | `--additional-gids` appended | no such flag |
//! | capabilities | `--cap` appended to the container's sets | `--cap` replaces all sets |
//! | noNewPrivileges | the container's unless the flag is given | **off** unless the flag is given |
//! | env | appended | appended |
//! | rlimits, scheduler, ... | the container's | none |
//! | labels | the container's unless given | the same |
//!
//! Between versions, the later behaviour is followed, which in each case asks for no more
//! privilege: runc before 1.2 adds `--cap` to the ambient set even when the container has no
//! inheritable one (the kernel then refuses to raise them, capabilities(7)); crun before 1.17 runs
//! as root where `--user` is not given, whoever the container's user is; crun before 1.28 lets
//! `--env` replace the container's environment.

use std::ffi::{OsStr, OsString};

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::argv::{Inline, User};
use crate::family::Family;

/// Why no process can be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExecProcessError {
    /// The container's process is not of the shape that the runtime spec gives it.
    #[error("building the exec's process: the container's process.{field} is not {expected}")]
    Base {
        /// The field, empty for the process itself.
        field: &'static str,
        /// The JSON type it should have.
        expected: &'static str,
    },
    /// JSON holds only Unicode.
    #[error("building the exec's process: {what} {value:?} is not UTF-8")]
    NotUtf8 {
        /// Which word of the command line.
        what: &'static str,
        /// The word, with replacement characters.
        value: String,
    },
    /// `--cap` has nothing to add to; runc ends in a nil dereference here.
    #[error(
        "building the exec's process: --cap was given, but the container's process has no \
         capabilities to add to; use --process with all sets written out"
    )]
    NoCapabilities,
    /// Both runtimes want an absolute working directory.
    #[error(
        "building the exec's process: the working directory {cwd:?} is not absolute; begin it with /"
    )]
    RelativeCwd {
        /// As asked.
        cwd: String,
    },
}

/// The process that `family` would run in a container whose own process is `base`.
///
/// # Errors
/// When `base` has not the shape of the runtime spec, or a flag cannot be written as JSON.
pub fn requested(base: &Value, asked: &Inline, family: Family) -> Result<Value, ExecProcessError> {
    let base =
        base.as_object().ok_or(ExecProcessError::Base { field: "", expected: "an object" })?;
    let mut process = match family {
        Family::Runc => base.clone(),
        Family::Crun => fresh(base),
    };
    process.insert("terminal".into(), asked.tty.into());
    process.insert("args".into(), texts("argument", &asked.args)?.into());
    if let Some(cwd) = &asked.cwd {
        process.insert("cwd".into(), text("--cwd", cwd)?.into());
    }
    if let Some(profile) = &asked.apparmor {
        process.insert("apparmorProfile".into(), text("--apparmor", profile)?.into());
    }
    if let Some(label) = &asked.process_label {
        process.insert("selinuxLabel".into(), text("--process-label", label)?.into());
    }
    list(&mut process, "env", "env")?.extend(texts("--env", &asked.env)?);
    if let Some(on) = asked.no_new_privs {
        process.insert("noNewPrivileges".into(), on.into());
    }
    identity(&mut process, asked, family)?;
    capabilities(&mut process, asked, family)?;
    check_cwd(&process)?;
    Ok(Value::Object(process))
}

/// crun's starting point: an empty process, to which it adds the container's environment, user,
/// capabilities and labels, and nothing else.
fn fresh(base: &Map<String, Value>) -> Map<String, Value> {
    let mut process = Map::new();
    process.insert("cwd".into(), "/".into());
    process.insert("noNewPrivileges".into(), false.into());
    for kept in ["user", "env", "capabilities", "apparmorProfile", "selinuxLabel"] {
        if let Some(value) = base.get(kept) {
            process.insert(kept.into(), value.clone());
        }
    }
    process
}

fn identity(
    process: &mut Map<String, Value>,
    asked: &Inline,
    family: Family,
) -> Result<(), ExecProcessError> {
    match (family, asked.user) {
        (_, None) => {}
        (Family::Crun, Some(User { uid, gid })) => {
            process.insert("user".into(), json!({"uid": uid, "gid": gid.unwrap_or(0)}));
        }
        (Family::Runc, Some(User { uid, gid })) => {
            let user = object(process, "user", "user")?;
            user.insert("uid".into(), uid.into());
            if let Some(gid) = gid {
                user.insert("gid".into(), gid.into());
            }
        }
    }
    if !asked.additional_gids.is_empty() {
        let user = object(process, "user", "user")?;
        let groups = list(user, "additionalGids", "user.additionalGids")?;
        groups.extend(asked.additional_gids.iter().map(|gid| Value::from(*gid)));
    }
    Ok(())
}

fn capabilities(
    process: &mut Map<String, Value>,
    asked: &Inline,
    family: Family,
) -> Result<(), ExecProcessError> {
    if asked.caps.is_empty() {
        return Ok(());
    }
    let added = texts("--cap", &asked.caps)?;
    if family == Family::Crun {
        let sets = json!({
            "bounding": added, "effective": added, "permitted": added, "ambient": added,
        });
        process.insert("capabilities".into(), sets);
        return Ok(());
    }
    if process.get("capabilities").is_none_or(Value::is_null) {
        return Err(ExecProcessError::NoCapabilities);
    }
    let sets = object(process, "capabilities", "capabilities")?;
    // An empty list is there for Go: only null or absent is nil.
    let ambient = sets.get("inheritable").is_some_and(|set| !set.is_null());
    for (set, field) in [
        ("bounding", "capabilities.bounding"),
        ("effective", "capabilities.effective"),
        ("permitted", "capabilities.permitted"),
        ("ambient", "capabilities.ambient"),
    ] {
        if set != "ambient" || ambient {
            list(sets, set, field)?.extend(added.iter().cloned());
        }
    }
    Ok(())
}

fn check_cwd(process: &Map<String, Value>) -> Result<(), ExecProcessError> {
    let cwd = process.get("cwd").and_then(Value::as_str).unwrap_or_default();
    if cwd.starts_with('/') {
        Ok(())
    } else {
        Err(ExecProcessError::RelativeCwd { cwd: cwd.to_owned() })
    }
}

/// The list under `key`, made when absent or null (Go's nil slice).
fn list<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<&'a mut Vec<Value>, ExecProcessError> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut().ok_or(ExecProcessError::Base { field, expected: "a list" })
}

fn object<'a>(
    map: &'a mut Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<&'a mut Map<String, Value>, ExecProcessError> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().ok_or(ExecProcessError::Base { field, expected: "an object" })
}

fn texts(what: &'static str, words: &[OsString]) -> Result<Vec<Value>, ExecProcessError> {
    words.iter().map(|word| text(what, word).map(Value::from)).collect()
}

fn text<'a>(what: &'static str, word: &'a OsStr) -> Result<&'a str, ExecProcessError> {
    word.to_str().ok_or_else(|| ExecProcessError::NotUtf8 {
        what,
        value: word.to_string_lossy().into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::argv::{Command, Invocation, ProcessSource};

    fn base() -> Value {
        json!({
            "terminal": true,
            "user": {"uid": 5, "gid": 6, "additionalGids": [7], "umask": 63},
            "args": ["init"],
            "env": ["PATH=/bin"],
            "cwd": "/app",
            "capabilities": {
                "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"]
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1, "soft": 1}],
            "noNewPrivileges": true,
            "apparmorProfile": "tight",
            "x-unknown": 1,
        })
    }

    fn asked(line: &str) -> Inline {
        let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
        match Invocation::parse(&argv).unwrap().command {
            Command::Exec(exec) => match exec.process {
                ProcessSource::Inline(inline) => inline,
                ProcessSource::File(_) => panic!("not inline"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn run(line: &str, family: Family) -> Value {
        requested(&base(), &asked(line), family).unwrap()
    }

    #[test]
    fn a_bare_command_changes_only_args_and_terminal_for_runc() {
        let mut expected = base();
        expected["args"] = json!(["ls", "-l"]);
        expected["terminal"] = json!(false);
        assert_eq!(run("exec c ls -l", Family::Runc), expected);
    }

    #[test]
    fn a_bare_command_loses_no_new_privs_cwd_and_rlimits_for_crun() {
        let expected = json!({
            "cwd": "/", "noNewPrivileges": false,
            "user": base()["user"], "env": ["PATH=/bin"], "capabilities": base()["capabilities"],
            "apparmorProfile": "tight", "terminal": false, "args": ["ls"],
        });
        assert_eq!(run("exec c ls", Family::Crun), expected);
    }

    #[test]
    fn flags_are_laid_over_the_container_field_by_field_for_runc() {
        let line = "exec -t -e A=1 --cwd /x -u 1 -g 8 --no-new-privs=false --apparmor loose \
                    --process-label l --cap CAP_SYS_ADMIN c ls";
        let got = run(&line.split_whitespace().collect::<Vec<_>>().join(" "), Family::Runc);
        assert_eq!(got["user"], json!({"uid": 1, "gid": 6, "additionalGids": [7, 8], "umask": 63}));
        assert_eq!(got["env"], json!(["PATH=/bin", "A=1"]));
        assert_eq!((&got["cwd"], &got["terminal"]), (&json!("/x"), &json!(true)));
        assert_eq!(got["noNewPrivileges"], json!(false));
        assert_eq!(got["apparmorProfile"], json!("loose"));
        assert_eq!(got["selinuxLabel"], json!("l"));
        let both = json!(["CAP_KILL", "CAP_SYS_ADMIN"]);
        let sets = json!({"bounding": both, "effective": both, "permitted": both});
        assert_eq!(got["capabilities"], sets);
        assert_eq!(got["x-unknown"], json!(1), "unknown fields are kept");
    }

    #[test]
    fn an_inheritable_set_lets_runc_raise_ambient_ones() {
        let mut base = base();
        base["capabilities"]["inheritable"] = json!([]);
        let got = requested(&base, &asked("exec -c CAP_CHOWN c ls"), Family::Runc).unwrap();
        assert_eq!(got["capabilities"]["ambient"], json!(["CAP_CHOWN"]));
        assert_eq!(got["capabilities"]["inheritable"], json!([]));
    }

    #[test]
    fn user_and_cap_replace_the_containers_for_crun() {
        let got = run("exec -u 1 --cap CAP_CHOWN --no-new-privs c ls", Family::Crun);
        assert_eq!(got["user"], json!({"uid": 1, "gid": 0}));
        let one = json!(["CAP_CHOWN"]);
        let sets = json!({"bounding": one, "effective": one, "permitted": one, "ambient": one});
        assert_eq!(got["capabilities"], sets);
        assert_eq!(got["noNewPrivileges"], json!(true));
    }

    #[test]
    fn what_cannot_be_built_is_an_error() {
        let mut bare = base();
        bare["capabilities"] = Value::Null;
        let caps = asked("exec --cap CAP_CHOWN c ls");
        assert_eq!(requested(&bare, &caps, Family::Runc), Err(ExecProcessError::NoCapabilities));
        let relative = requested(&base(), &asked("exec --cwd x c ls"), Family::Runc);
        assert!(matches!(relative, Err(ExecProcessError::RelativeCwd { .. })));
        let mut odd = base();
        odd["env"] = json!("PATH=/bin");
        let wrong = requested(&odd, &asked("exec c ls"), Family::Crun);
        assert!(matches!(wrong, Err(ExecProcessError::Base { field: "env", .. })));
        assert!(requested(&json!([]), &asked("exec c ls"), Family::Runc).is_err());
        let bytes = Inline { args: vec![OsString::from_vec(vec![0xff])], ..Inline::default() };
        let not_text = requested(&base(), &bytes, Family::Runc);
        assert!(matches!(not_text, Err(ExecProcessError::NotUtf8 { .. })));
    }
}
