//! The launcher: `coaming-init PLAN PROGRAM [ARGUMENT]...`
//!
//! It is bind-mounted read-only into the container at `/dev/.coaming/init`, restricts itself by
//! `/dev/.coaming/PLAN`, and becomes PROGRAM. Whatever the runtime prepared passes through as it is:
//! environment, working directory, umask, signal dispositions, descriptors and ids. To that end there
//! is no Rust runtime (its start-up would set SIGPIPE to ignored): C's `main` is ours.
//!
//! Exit codes: 125 the launcher failed and PROGRAM was not started, 126 PROGRAM cannot be executed,
//! 127 PROGRAM was not found; in each case with one line on stderr.
#![no_main]
#![allow(unsafe_code)]

mod failure;
mod layers;
mod plan_file;

use std::ffi::{CStr, CString, c_char, c_int};

use coaming_hooks::lookup::{LookupCause, LookupError, look_path};
use coaming_hooks::plan::Plan;
use coaming_hooks::sys;

use failure::Failure;

/// C's entry point, with the arrays that the kernel gave.
///
/// # Safety
/// Called by the C library, which keeps the promises of C about these three.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn main(
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    // SAFETY: argv holds argc pointers and then a null; envp ends in a null. Neither is written to.
    let failure = unsafe { launch(count, argv, envp) };
    failure.report();
    failure.exit_code()
}

/// Everything, in the order that matters. Returns only when the workload was not started.
///
/// # Safety
/// `argv` holds `argc` pointers to C strings and then a null, `envp` C strings until a null.
unsafe fn launch(argc: usize, argv: *const *const c_char, envp: *const *const c_char) -> Failure {
    sys::not_dumpable();
    if argc < 3 {
        return Failure::Usage;
    }
    // SAFETY: there are at least three, by the check above.
    let (plan, program, workload) =
        unsafe { (CStr::from_ptr(*argv.add(1)), CStr::from_ptr(*argv.add(2)), argv.add(2)) };

    let plan = match plan_file::read(plan) {
        Ok(plan) => plan,
        Err(failure) => return failure,
    };
    // Looked up while nothing restricts us yet, as the runtime would have done before its own seccomp
    // filter: the answer is what would have run, and neither Landlock nor the filters need to allow the
    // questions. Whether it may be executed under the plan is for the kernel to say, at execve.
    // SAFETY: envp is a null-terminated array of C strings.
    let path = unsafe { path_variable(envp) };
    let file = match find(program, path) {
        Ok(file) => file,
        Err(failure) => return failure,
    };
    if let Err(failure) = restrict(&plan) {
        return failure;
    }
    // From here on only execve, and on failure write and exit_group: a filter may forbid all else.
    // SAFETY: both arrays are null-terminated, and argv's tail after two elements is too.
    let errno = unsafe { sys::execve(&file, workload, envp) };
    Failure::Lookup {
        error: LookupError { name: program.to_bytes().to_vec(), cause: LookupCause::Exec(errno) },
        under_landlock: !plan.layers.is_empty(),
    }
}

/// Landlock first, filters last: a filter need not allow what Landlock takes to set up.
fn restrict(plan: &Plan) -> Result<(), Failure> {
    if plan.is_empty() {
        return Ok(());
    }
    // Without no_new_privs a set-user-ID workload would run under restrictions that its author cannot
    // see, and the kernel refuses both calls to whoever lacks CAP_SYS_ADMIN. The runtime sets it; the
    // launcher only checks, because setting it here would hide a wrapper that forgot.
    if !sys::no_new_privs() {
        return Err(Failure::NoNewPrivileges);
    }
    layers::restrict(&plan.layers, plan.log_denials)?;
    for (index, filter) in plan.filters.iter().enumerate() {
        sys::load_filter(filter).map_err(|source| Failure::Filter { index, source })?;
    }
    Ok(())
}

fn find(program: &CStr, path: Option<&CStr>) -> Result<CString, Failure> {
    let terminated = |file: &[u8]| CString::new(file).unwrap_or_default();
    look_path(program.to_bytes(), path.map(CStr::to_bytes), |file| {
        sys::executable(&terminated(file))
    })
    .map(|file| terminated(&file))
    .map_err(|error| Failure::Lookup { error, under_landlock: false })
}

/// The value of PATH, the first as getenv(3) has it.
///
/// It is the only variable the launcher looks at, and only to find the workload where the runtime
/// would have found it: the container's own PATH chooses among the container's own files.
///
/// # Safety
/// `envp` is a null-terminated array of C strings that outlives the answer.
unsafe fn path_variable<'a>(mut envp: *const *const c_char) -> Option<&'a CStr> {
    // SAFETY: the array ends in a null, and no element after it is read.
    while let Some(entry) = unsafe { (*envp).as_ref() } {
        // SAFETY: every element before the null is a C string.
        let entry = unsafe { CStr::from_ptr(entry) };
        if let Some(value) = entry.to_bytes_with_nul().strip_prefix(b"PATH=") {
            return CStr::from_bytes_with_nul(value).ok();
        }
        // SAFETY: the element just read was not the null, so there is a next one.
        envp = unsafe { envp.add(1) };
    }
    None
}
