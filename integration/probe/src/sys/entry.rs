//! `main`, without std's start-up (see the crate's first page).

/// The C entry point: turns argv into strings and runs the command.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(argc: libc::c_int, argv: *const *const libc::c_char) -> libc::c_int {
    let count = usize::try_from(argc).unwrap_or(0);
    let args: Vec<String> = (0..count)
        .map(|index| {
            // SAFETY: the C start-up gives argc valid, NUL-terminated strings (execve(2)), alive until exit.
            let text = unsafe { std::ffi::CStr::from_ptr(*argv.add(index)) };
            text.to_string_lossy().into_owned()
        })
        .collect();
    let argv0 = args.first().cloned().unwrap_or_default();
    crate::run(&argv0, args.get(1..).unwrap_or_default()).into()
}
