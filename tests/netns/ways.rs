//! Ways in that are not ours: the PyPI client `varlink` at a real node.

use super::lan::{Lan, say};

/// With `KLATSCH_VARLINK` naming a python3 that has the package (see .ci/run).
#[test]
fn the_varlink_package_finds_what_the_interface_promises() {
    let Some(lan) = Lan::new(2) else { return };
    let Some(python) = std::env::var_os("KLATSCH_VARLINK") else {
        return say("skipped: no KLATSCH_VARLINK names a python3 that has the package varlink");
    };
    let anna = lan.host(0).node("anna", "");
    let bert = lan.host(1).node("bert", "");
    anna.sees(&["bert"]);
    let socket = anna.status()["socket"].as_str().unwrap().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control/varlink_client.py");
    let out = std::process::Command::new(python).args([script, &socket]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&out.stdout));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    bert.sees(&["anna"]);
}
