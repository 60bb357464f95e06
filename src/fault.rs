//! What a person is told when the program finds itself broken.
//!
//! In the programs that `cross/build` makes a panic is one instruction that traps: what would have
//! said its message and place is a twentieth of the program (docs/budgets.md, "Size"). Instead one line goes to stderr: where in the program it happened, and
//! what lies on the stack that points into the program, the nearest first (who called, and other
//! things). An unstripped program of the same commit says what stands there (docs/install.md). Then
//! the signal does what it always does, and whoever started the program starts it again. A program
//! that `cargo build` made says a panic's message as ever.
//!
//! The handler only looks at memory that is there, writes with write(2), and calls what `first` was
//! given: nothing in it allocates or waits for a lock.

use std::io::Write;
use std::sync::OnceLock;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

/// What traps: `ud2` and ARM's `udf` are SIGILL, arm64's `brk` is SIGTRAP.
const TRAPS: [Signal; 2] = [Signal::SIGILL, Signal::SIGTRAP];
/// Places that are said of the stack.
const MAX_CALLERS: usize = 12;
/// The stack is read to the end of a page of this size, the least that Linux has: a page is there
/// as a whole.
const PAGE: usize = 4096;
/// Bytes of the line; one with all its places takes less.
const MAX_LINE: usize = 400;

static FIRST: OnceLock<fn()> = OnceLock::new();

/// Sees to it that a trap is said. Once, at the program's start.
pub fn watch() {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK | SaFlags::SA_RESETHAND;
    let action = SigAction::new(SigHandler::SigAction(trapped), flags, SigSet::empty());
    for signal in TRAPS {
        // SAFETY: `trapped` does only what a handler may, see above. Of a trap that cannot be
        // caught nothing is said, as before.
        #[allow(unsafe_code)]
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// What is to be done before anything is said, by a panic or a trap: it may neither allocate nor wait.
/// The first that is given stays.
pub fn first(act: fn()) {
    if FIRST.set(act).is_ok() {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            act();
            usual(info);
        }));
    }
}

extern "C" fn trapped(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if let Some(act) = FIRST.get() {
        act();
    }
    // SAFETY: with SA_SIGINFO the kernel gives a `ucontext_t`, sigaction(2).
    #[allow(unsafe_code)]
    let (at, stack) = registers(unsafe { &*context.cast::<libc::ucontext_t>() });
    let mut room = [0; MAX_LINE];
    let len = line(&mut room, at, above(stack));
    let _ = nix::unistd::write(std::io::stderr(), room.get(..len).unwrap_or_default());
    // SA_RESETHAND: once this returns, it ends the process, whether an instruction sent it or kill(2).
    if let Ok(signal) = Signal::try_from(signal) {
        let _ = raise(signal);
    }
}

/// Where it was, and where its stack ended.
fn registers(context: &libc::ucontext_t) -> (usize, usize) {
    let machine = &context.uc_mcontext;
    #[cfg(target_arch = "x86_64")]
    let both = {
        let of = |register: libc::c_int| machine.gregs[register as usize] as usize;
        (of(libc::REG_RIP), of(libc::REG_RSP))
    };
    #[cfg(target_arch = "aarch64")]
    let both = (machine.pc as usize, machine.sp as usize);
    #[cfg(target_arch = "arm")]
    let both = (machine.arm_pc as usize, machine.arm_sp as usize);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
    let both = {
        let _ = machine;
        (0, 0)
    };
    both
}

/// The words of a stack from its end to that of the page.
fn above(stack: usize) -> &'static [usize] {
    const WORD: usize = size_of::<usize>();
    if stack == 0 || stack % WORD != 0 {
        return &[];
    }
    // SAFETY: what called us has its stack there and stays where it is until the process ends; the
    // page that a byte of it is in is there as a whole. Nothing of ours writes to it meanwhile.
    #[allow(unsafe_code)]
    unsafe {
        std::slice::from_raw_parts(stack as *const usize, (PAGE - stack % PAGE) / WORD)
    }
}

/// Writes the line, and says how long it is.
fn line(room: &mut [u8; MAX_LINE], at: usize, stack: &[usize]) -> usize {
    let mut rest = room.as_mut_slice();
    let (version, arch) = (env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let _ = write!(
        rest,
        "klatsch: a fault of the program itself, please report this line: {version}, {arch}: at"
    );
    let _ = match place(at) {
        Some(at) => write!(rest, " {at:#x}"),
        None => write!(rest, " a library"),
    };
    for caller in stack.iter().filter_map(|word| place(*word)).take(MAX_CALLERS) {
        let _ = write!(rest, " {caller:#x}");
    }
    let _ = writeln!(rest);
    let left = rest.len();
    room.len() - left
}

/// How far behind the program's beginning an address is; none where no code of the program is.
fn place(address: usize) -> Option<usize> {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    // by the linker, ld(1)
    let (start, end) = (&raw const __executable_start as usize, &raw const etext as usize);
    (start..end).contains(&address).then(|| address - start)
}

#[cfg(test)]
#[path = "fault_tests.rs"]
mod tests;
