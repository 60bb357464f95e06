use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use super::*;

/// Which test's process it is, if it is one that is to end.
const ENDS: &str = "KLATSCH_FAULT_TEST";

/// Runs a test of this program alone, and lets it end.
fn ending(test: &str) -> Output {
    let mut own = Command::new(std::env::current_exe().unwrap());
    own.args(["--exact", &format!("fault::tests::{test}"), "--nocapture", "--test-threads=1"]);
    own.env(ENDS, test).output().unwrap()
}

fn is_to_end(test: &str) -> bool {
    std::env::var_os(ENDS).is_some_and(|name| name == test)
}

/// What `panic_immediate_abort` makes of a panic.
#[inline(never)]
#[allow(unsafe_code)]
fn trap() {
    // SAFETY: it never comes back.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2");
        #[cfg(target_arch = "aarch64")]
        std::arch::asm!("brk #1");
        #[cfg(target_arch = "arm")]
        std::arch::asm!("udf #254");
    }
}

#[inline(never)]
fn calls_trap() {
    trap();
    std::hint::black_box(()); // so that it is a call, and no jump
}

fn say(what: &[u8]) {
    nix::unistd::write(std::io::stderr(), what).unwrap();
}

/// Places are taken for these functions' if they are less than this behind their beginning.
const CODE: usize = 256;

fn is_in(place: usize, function: fn()) -> bool {
    let begin = super::place(function as usize).unwrap();
    (begin..begin + CODE).contains(&place)
}

#[test]
fn a_trap_says_where_it_was_and_who_called_and_ends_the_process_as_ever() {
    const NAME: &str = "a_trap_says_where_it_was_and_who_called_and_ends_the_process_as_ever";
    if is_to_end(NAME) {
        watch();
        calls_trap();
    }
    let output = ending(NAME);
    let signal = output.status.signal();
    assert!(TRAPS.iter().any(|trap| signal == Some(*trap as i32)), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said.lines().find(|line| line.starts_with("klatsch: ")).unwrap();
    let (_, places) = said.split_once(": at ").unwrap();
    let places: Vec<usize> = places
        .split(' ')
        .map(|place| usize::from_str_radix(place.strip_prefix("0x").unwrap(), 16).unwrap())
        .collect();
    assert!(is_in(places[0], trap), "{said}");
    assert!(places[1..].iter().any(|place| is_in(*place, calls_trap)), "{said}");
    assert!(places.len() <= 1 + MAX_CALLERS);
}

#[test]
fn what_is_to_be_done_first_is_done_before_the_line() {
    const NAME: &str = "what_is_to_be_done_first_is_done_before_the_line";
    if is_to_end(NAME) {
        watch();
        first(|| say(b"first\n"));
        first(|| say(b"never\n"));
        trap();
    }
    let said = String::from_utf8(ending(NAME).stderr).unwrap();
    assert!(said.starts_with("first\nklatsch: "), "{said}");
}

#[test]
fn a_signal_from_elsewhere_ends_the_process_too() {
    const NAME: &str = "a_signal_from_elsewhere_ends_the_process_too";
    if is_to_end(NAME) {
        watch();
        raise(Signal::SIGTRAP).unwrap();
        unreachable!("it ended");
    }
    let output = ending(NAME);
    assert_eq!(output.status.signal(), Some(Signal::SIGTRAP as i32), "{output:?}");
}

#[test]
fn of_a_stack_only_code_of_the_program_is_said_and_only_so_much() {
    let code = trap as *const () as usize;
    let mut stack = vec![code; MAX_CALLERS];
    stack.extend([code + 1, 0, 1, usize::MAX, &raw const stack as usize]);
    let mut room = [0; MAX_LINE];
    let len = line(&mut room, code, &stack);
    let said = std::str::from_utf8(&room[..len]).unwrap();
    let place = format!(" {:#x}", super::place(code).unwrap());
    assert!(said.ends_with(&format!("at{}\n", place.repeat(1 + MAX_CALLERS))), "{said}");
    // a program of 4 GiB would have places no longer than these
    assert!(len + (1 + MAX_CALLERS) * (11 - place.len()) < MAX_LINE, "{len}");
    let len = line(&mut room, 0, &stack[MAX_CALLERS + 1..]);
    assert!(room[..len].ends_with(b": at a library\n"));
}

#[test]
fn the_stack_is_read_to_the_end_of_its_page_and_no_further() {
    let page = [0_usize; 2 * PAGE / size_of::<usize>()];
    let end = (&raw const page as usize).next_multiple_of(PAGE) + PAGE;
    let word = size_of::<usize>();
    assert_eq!(above(end - word).len(), 1);
    assert_eq!(above(end - 2 * word).as_ptr_range().end as usize, end);
    assert_eq!(above(end - 1), &[] as &[usize]);
    assert_eq!(above(0), &[] as &[usize]);
}
