//! What one more peer takes of the heap, counted block by block as a node hears it join. No clock,
//! no daemon: the same on every machine. What a daemon takes is measured by `cargo bench --bench table
//! -- roster`, holes and all (docs/budgets.md).
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use klatsch::config::{Kept, Settings};
use klatsch::model::history::Remembered;
use klatsch::model::{Bind, Handle, Link, Net, Now, SocketId, Status, Wall};
use klatsch::node::io::{Action, Input};
use klatsch::node::{Birth, Node};

/// Bytes of the heap for one more peer, glibc's own of each block included. DESIGN section 8 allows
/// 400, of which the heap's holes take some 50.
const PEER_BYTES: usize = 300;
/// What a block of glibc's takes more than was asked for, what its size is a multiple of, and the
/// smallest there is (malloc.c, 64 bits).
const HEAD: usize = 8;
const GRAIN: usize = 16;
const LEAST: usize = 32;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

fn block(size: usize) -> usize {
    (size + HEAD).next_multiple_of(GRAIN).max(LEAST)
}

// SAFETY: all is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(block(layout.size()), Relaxed);
        // SAFETY: what the caller promises is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(block(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// A node by itself, its sockets open, in a net of 65,000 addresses.
struct Alone {
    node: Node,
    now: Now,
    discovery: Option<SocketId>,
}

impl Alone {
    fn new() -> Alone {
        let mut settings = Settings::default();
        settings.users[0].handle = Some(Handle::try_from("Anna").unwrap());
        let birth = Birth {
            settings,
            kept: Kept::default(),
            epoch: 1,
            seed: 7,
            fallback: Handle::try_from("nobody").unwrap(),
            join: true,
            about: Status::default(),
            remembered: Remembered::default(),
            identity: None,
        };
        let now = Now { mono: 1_000_000, wall: Wall(1_795_228_536_764) };
        let mut alone = Alone { node: Node::new(now, birth), now, discovery: None };
        let link = Link {
            index: 2,
            name: "eth0".into(),
            address: Ipv4Addr::new(10, 78, 0, 1),
            prefix: 16,
            broadcast: Some(Ipv4Addr::new(10, 78, 255, 255)),
        };
        alone.perform();
        alone.hear(Input::Links(vec![link]));
        alone
    }

    fn hear(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(action) = self.node.poll() {
            match action {
                Action::Net(Net::Bind(id, bind)) => {
                    if bind == Bind::SharedUdp(4000) {
                        self.discovery = Some(id);
                    }
                    self.node.handle(self.now, Input::Bound(id));
                }
                Action::Store { n, .. } => self.node.handle(self.now, Input::Stored(n, Ok(()))),
                _ => {}
            }
        }
    }

    /// The programs from..to join, each from an address of its own.
    fn join(&mut self, numbers: std::ops::Range<u16>, at: fn(u16) -> u16) {
        for n in numbers {
            let [c, d] = at(n).wrapping_add(256).to_be_bytes();
            let from = SocketAddrV4::new(Ipv4Addr::new(10, 78, c, d), 40_000);
            self.now.mono += 1;
            let bytes = format!("JOIN person{n} 5010\n").into_bytes();
            let socket = self.discovery.unwrap();
            self.hear(Input::Datagram { socket, from, to: None, link: 2, bytes });
        }
    }

    /// Bytes for each peer, while it grows from so many to so many.
    fn bytes_for_each(&mut self, few: u16, many: u16, at: fn(u16) -> u16) -> usize {
        let (held, here) = (HELD.load(Relaxed), self.node.handles_here().count());
        self.join(few..many, at);
        assert_eq!(self.node.handles_here().count() - here, usize::from(many - few));
        HELD.load(Relaxed).saturating_sub(held) / usize::from(many - few)
    }
}

/// One test: what another allocates beside it would be counted.
#[test]
fn one_more_peer_takes_no_more_of_the_heap_than_the_budget_leaves() {
    let in_order = |n| n;
    let scattered = |n: u16| n.wrapping_mul(40_503);
    for (order, at) in [("in order", in_order as fn(u16) -> u16), ("scattered", scattered)] {
        let mut alone = Alone::new();
        alone.join(0..1_000, at);
        for (few, many) in [(1_000, 5_000), (5_000, 10_000)] {
            let bytes = alone.bytes_for_each(few, many, at);
            println!("{few} to {many} peers, addresses {order}: {bytes} bytes each");
            assert!(bytes <= PEER_BYTES, "{bytes} bytes for each of {few} to {many}, {order}");
            assert!(bytes >= LEAST, "nothing was counted");
        }
    }
}
