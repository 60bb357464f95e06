//! The loop: waits for whatever happens, feeds the node, performs its actions.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

use async_channel::{Receiver, Sender};
use async_executor::LocalExecutor;

use super::heap::Heap;
use super::hooks::Hooks;
use super::led::{self, Led};
use super::multicast::Multicast;
use super::notify::Notify;
use super::ports::{self, Proto};
use super::signals::{self, Signal};
use super::{clock, journal, links, machine, tcp, udp, web};
use crate::config::{Kept, Sources};
use crate::hub::{Call, Hub};
use crate::model::limits::{CHUNK, LINK_READ};
use crate::model::net::ACCEPTED;
use crate::model::{
    Answer, Bind, IoError, Millis, Net, Now, Refusal, SocketId, StreamId, Trouble, Wall, What,
};
use crate::node::Node;
use crate::node::io::{Action, FileDone, FileId, FileOp, Input, Ticket};
use crate::reactor::{Timer, spawn};
use crate::store::{Rules, Store, Told};

/// Inputs that may wait for the loop; a driver beyond waits, and with it the network.
const MAX_INPUTS: usize = 256;
/// Datagrams that wait for room in the kernel's send buffer.
const MAX_UNSENT: usize = 256;
/// Goodbyes on open connections get this long to leave.
const FAREWELL: Duration = Duration::from_millis(100);
/// With a full send buffer, the next try comes after this.
const UNSENT_PAUSE: Duration = Duration::from_millis(5);

/// Where settings are read from again on SIGHUP.
pub(super) struct Reload {
    pub(super) sources: Sources,
}

/// The time now.
pub(super) fn now(at: Instant) -> Now {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = *START.get_or_init(|| at);
    // away from zero, so that "long ago" can be told
    let mono = 1_000_000 + Millis::try_from(at.duration_since(start).as_millis()).unwrap_or(0);
    Now { mono, wall: Wall::from_system(SystemTime::now()) }
}

/// See the module.
pub(super) struct Driver {
    node: Node,
    executor: Rc<LocalExecutor<'static>>,
    hub: Rc<Hub>,
    store: Store,
    machine: machine::Machine,
    kept: Kept,
    rules: Rules,
    web: web::Web,
    told: Sender<Input>,
    inputs: Receiver<Input>,
    accepted: (Sender<tcp::Accepted>, Receiver<tcp::Accepted>),
    udp: HashMap<SocketId, udp::Udp>,
    multicast: HashMap<SocketId, Multicast>,
    listeners: HashMap<SocketId, tcp::Listener>,
    streams: HashMap<StreamId, tcp::Stream>,
    next_stream: u64,
    next_file: u64,
    next_ticket: u64,
    answers: HashMap<Ticket, Sender<Result<Answer, Refusal>>>,
    unsent: VecDeque<(SocketId, SocketAddrV4, Vec<u8>)>,
    /// What performing actions brought up, for the node's next turn.
    at_once: VecDeque<Input>,
    notify: Notify,
    heap: Heap,
    led: Led,
    hooks: Hooks,
}

enum Woken {
    Input(Input),
    Accepted(tcp::Accepted),
    Call(Call),
    Told(Told),
    PageFile(FileId, FileOp),
    Signal(Signal),
    Time,
    Quit,
}

impl Driver {
    pub(super) fn new(
        node: Node,
        executor: Rc<LocalExecutor<'static>>,
        hub: Rc<Hub>,
        store: Store,
        machine: machine::Machine,
    ) -> Driver {
        let (told, inputs) = async_channel::bounded(MAX_INPUTS);
        Driver {
            rules: Rules::of(node.settings()),
            kept: node.kept().clone(),
            web: web::Web::default(),
            hooks: Hooks::new(Rc::clone(&executor)),
            node,
            executor,
            hub,
            store,
            machine,
            told,
            inputs,
            accepted: async_channel::bounded(MAX_INPUTS),
            udp: HashMap::new(),
            multicast: HashMap::new(),
            listeners: HashMap::new(),
            streams: HashMap::new(),
            next_stream: 0,
            next_file: 0,
            next_ticket: 0,
            answers: HashMap::new(),
            unsent: VecDeque::new(),
            at_once: VecDeque::new(),
            notify: Notify::from_environment(),
            heap: Heap::default(),
            led: Led::new(Path::new(led::LEDS), now(Instant::now()).mono),
        }
    }

    /// Runs until a signal or `quit` ends it; LEAVE has been said then. `daemon`: SIGHUP reads
    /// the configuration again; in a terminal it means that the terminal is gone.
    pub(super) async fn run(
        mut self,
        caught: std::io::Result<signals::Caught>,
        calls: Receiver<Call>,
        store: Receiver<Told>,
        reload: Reload,
        daemon: bool,
        quit: Receiver<()>,
    ) {
        let (signal, signals) = async_channel::unbounded();
        let listens = caught.and_then(|all| signals::listen(all, &self.executor, &signal));
        if let Err(error) = listens {
            log::warn!("signals cannot be caught: {error}");
        }
        let _links = spawn(&self.executor, links::watch(self.told.clone()));
        let trusted = clock::is_trusted();
        self.feed(Input::Clock(trusted));
        let _clock = (!trusted).then(|| spawn(&self.executor, clock::watch(self.told.clone())));
        self.feed(Input::Links(links::list()));
        self.feed(Input::Interfaces(links::interfaces()));
        self.follow_web();
        self.follow_led();
        self.hooks.follow(&reload.sources.hooks());
        let mut timer = Timer::never();
        let mut timer_at = None;
        loop {
            self.perform();
            let at = now(Instant::now());
            if let Some(well) = self.notify.turn(at, &self.node) {
                self.led.is_well(well);
            }
            self.led.turn(at.mono);
            let wake_at = self.wake_at();
            if wake_at != timer_at {
                timer_at = wake_at;
                timer = match wake_at {
                    Some(at) => Timer::after(Duration::from_millis(
                        at.saturating_sub(now(Instant::now()).mono).max(1),
                    )),
                    None => Timer::never(),
                };
            }
            match self.woken(&calls, &store, &signals, &mut timer, &quit).await {
                Woken::Time => {
                    timer_at = None;
                    self.send_unsent();
                    self.feed(Input::Tick);
                    self.heap.tick(now(Instant::now()).mono);
                }
                Woken::Input(input) => self.feed(input),
                Woken::Accepted(accepted) => self.accept(accepted),
                Woken::Call(call) => self.call(call),
                Woken::Told(told) => self.told(told),
                Woken::PageFile(file, op) => self.page_file(file, op),
                Woken::Signal(Signal::Hangup) if daemon => self.reload(&reload),
                Woken::Signal(_) | Woken::Quit => break,
            }
        }
        self.notify.stopping();
        self.led.dark();
        let talking = !self.streams.is_empty();
        self.feed(Input::Goodbye);
        self.perform();
        if talking {
            Timer::after(FAREWELL).await; // so that what was said last leaves
        }
        log::info!("stopped");
    }

    async fn woken(
        &self,
        calls: &Receiver<Call>,
        store: &Receiver<Told>,
        signals: &Receiver<Signal>,
        timer: &mut Timer,
        quit: &Receiver<()>,
    ) -> Woken {
        use futures_lite::future::or;
        let input = async { self.inputs.recv().await.map_or(Woken::Quit, Woken::Input) };
        let accepted = async { self.accepted.1.recv().await.map_or(Woken::Quit, Woken::Accepted) };
        let call = async { calls.recv().await.map_or(Woken::Quit, Woken::Call) };
        let told = async { store.recv().await.map_or(Woken::Quit, Woken::Told) };
        let page = self.hub.file_operations();
        let page =
            async { page.recv().await.map_or(Woken::Quit, |(file, op)| Woken::PageFile(file, op)) };
        let signal = async { signals.recv().await.map_or(Woken::Quit, Woken::Signal) };
        let time = async {
            timer.await;
            Woken::Time
        };
        let quit = async {
            // a daemon's end of it is never sent to
            match quit.recv().await {
                Ok(()) => Woken::Quit,
                Err(_) => futures_lite::future::pending().await,
            }
        };
        // the first that is ready wins: what ends us, then answers, then the network
        or(or(or(quit, signal), or(time, call)), or(or(told, page), or(accepted, input))).await
    }

    fn wake_at(&self) -> Option<Millis> {
        let unsent = (!self.unsent.is_empty()).then(|| {
            let pause = Millis::try_from(UNSENT_PAUSE.as_millis()).unwrap_or(1);
            now(Instant::now()).mono + pause
        });
        [self.node.wake_at(), unsent, self.notify.wake_at(), self.led.wake_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn feed(&mut self, input: Input) {
        if let Input::Closed(stream, _) = &input {
            self.streams.remove(stream);
        }
        if let Input::Clock(trusted) = &input {
            // Refused only when the thread has ended: then nothing is kept anyway.
            let _ = self.store.clock(*trusted);
        }
        self.heap.input();
        self.node.handle(now(Instant::now()), input);
    }

    /// Performs all actions, and those that performing them brings up.
    fn perform(&mut self) {
        loop {
            while let Some(action) = self.node.poll() {
                self.act(action);
            }
            let Some(input) = self.at_once.pop_front() else { return };
            self.feed(input);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Net(net) => self.net(net),
            Action::File(file, op) => {
                let answered = !op.is_final();
                if let (Err(error), true) = (self.store.file(file, op), answered) {
                    self.at_once.push_back(Input::File(file, Err(error)));
                }
            }
            Action::Store { n, changes, wanted } => {
                if let Err(error) = self.store.write(n, changes, wanted) {
                    self.at_once.push_back(Input::Stored(n, Err(error)));
                }
            }
            Action::Query(ticket, query) => {
                if let Err(error) = self.store.ask(ticket, query) {
                    self.at_once.push_back(Input::Found(ticket, Err(error)));
                }
            }
            Action::Answer(ticket, answer) => {
                if let Some(reply) = self.answers.remove(&ticket) {
                    let _ = reply.try_send(answer); // who asked may be gone
                }
            }
            Action::Tell(event) => {
                journal::event(&event);
                self.notify.happened(now(Instant::now()).mono, &event.what);
                if self.hub.is_open(&event) {
                    self.hooks.happened(&event);
                    if event.what.is_content_in() {
                        self.led.unread(true);
                    }
                }
                self.hub.tell(event);
                self.follow_rules();
                self.follow_web();
                self.follow_led();
            }
            Action::Keep(kept) => {
                self.kept = *kept;
                if let Err(error) = self.store.keep(self.kept.clone()) {
                    self.trouble(format!("settings cannot be kept: {error}"));
                }
            }
            Action::Show { path, .. } => show(&path),
        }
    }

    fn file_done(&mut self, file: FileId, result: Result<FileDone, IoError>) {
        if let Some((file, result)) = self.hub.file_done(file, result) {
            self.feed(Input::File(file, result));
        }
    }

    /// An operation with a file of the page.
    fn page_file(&mut self, file: FileId, op: FileOp) {
        if let Err(error) = self.store.file(file, op) {
            self.hub.file_done(file, Err(error));
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::File(file, result) => self.file_done(file, result),
            Told::Stored(n, result) => {
                self.store.heard(n);
                self.feed(Input::Stored(n, result));
            }
            Told::Found(ticket, result) => self.feed(Input::Found(ticket, result)),
            Told::Said(text) => self.trouble(text),
        }
    }

    fn follow_web(&mut self) {
        let settings = &self.node.settings().hello;
        for line in self.web.follow(settings, &self.hub, &self.executor) {
            self.trouble(line);
        }
    }

    fn follow_led(&mut self) {
        let had = self.led.is_there();
        self.led.follow(&self.node.settings().led);
        if self.led.is_there() && !had {
            self.notify.watch();
        }
    }

    fn follow_rules(&mut self) {
        let rules = Rules::of(self.node.settings());
        if rules != self.rules {
            self.rules = rules.clone();
            if let Err(error) = self.store.rules(rules) {
                log::warn!("{error}");
            }
        }
    }

    fn net(&mut self, net: Net) {
        match net {
            Net::Bind(socket, bind) => {
                let input = match self.bind(socket, bind) {
                    Ok(()) => Input::Bound(socket),
                    Err(error) => Input::BindFailed(socket, error),
                };
                self.at_once.push_back(input);
            }
            Net::Unbind(socket) => {
                self.udp.remove(&socket);
                self.multicast.remove(&socket);
                self.listeners.remove(&socket);
            }
            Net::Send { socket, to, bytes } => self.send(socket, to, bytes),
            Net::Connect(stream, to) => self.connect(stream, to.into(), CHUNK),
            Net::Dial(stream, to) => self.connect(stream, to, LINK_READ),
            Net::Join { socket, link, group } => {
                if let Some(multicast) = self.multicast.get_mut(&socket) {
                    multicast.join(link, group);
                }
            }
            Net::Cast { socket, link, to, bytes } => {
                if let Some(multicast) = self.multicast.get(&socket) {
                    multicast.cast(link, to, &bytes);
                }
            }
            Net::Write(stream, bytes) => {
                if let Some(stream) = self.streams.get(&stream) {
                    stream.write(bytes);
                }
            }
            Net::ReadMore(stream) => {
                if let Some(stream) = self.streams.get(&stream) {
                    stream.read_more();
                }
            }
            Net::Finish(stream) => {
                if let Some(stream) = self.streams.get(&stream) {
                    stream.finish();
                }
            }
            Net::Close(stream) => {
                self.streams.remove(&stream);
            }
        }
    }

    fn connect(&mut self, stream: StreamId, to: SocketAddr, most: usize) {
        let made = tcp::Stream::connect(&self.executor, stream, to, most, self.told.clone());
        self.streams.insert(stream, made);
    }

    fn bind(&mut self, socket: SocketId, bind: Bind) -> Result<(), IoError> {
        let told = self.told.clone();
        let (proto, port, opened) = match bind {
            Bind::SharedUdp(port) => {
                let opened = udp::Udp::open(&self.executor, socket, port, true, told);
                (Proto::Udp, port, opened.map(|s| drop(self.udp.insert(socket, s))))
            }
            Bind::Udp(port) => {
                let opened = udp::Udp::open(&self.executor, socket, port, false, told);
                (Proto::Udp, port, opened.map(|s| drop(self.udp.insert(socket, s))))
            }
            Bind::Tcp(port) => self.listen(socket, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)),
            Bind::Multicast { v6, port } => {
                let opened = Multicast::open(&self.executor, socket, v6, port, told);
                (Proto::Udp, port, opened.map(|m| drop(self.multicast.insert(socket, m))))
            }
            Bind::TcpBoth(port) => {
                let accepted = self.accepted.0.clone();
                let opened = tcp::Listener::open_both(&self.executor, socket, port, accepted);
                (Proto::Tcp, port, opened.map(|l| drop(self.listeners.insert(socket, l))))
            }
            Bind::TcpAt(at) => self.listen(socket, at),
        };
        opened.map_err(|error| match error.kind {
            Trouble::InUse => match ports::holder(proto, port) {
                Some(who) => IoError::new(Trouble::InUse, format!("{who} has it")),
                None => error,
            },
            _ => error,
        })
    }

    fn listen(&mut self, socket: SocketId, at: SocketAddrV4) -> (Proto, u16, Result<(), IoError>) {
        let accepted = self.accepted.0.clone();
        let opened = tcp::Listener::open(&self.executor, socket, at, accepted);
        (Proto::Tcp, at.port(), opened.map(|l| drop(self.listeners.insert(socket, l))))
    }

    fn send(&mut self, socket: SocketId, to: SocketAddrV4, bytes: Vec<u8>) {
        let Some(udp) = self.udp.get(&socket) else { return };
        match udp.send(to, &bytes) {
            Ok(()) => {}
            Err(error) if error.kind == Trouble::Exhausted && self.unsent.len() < MAX_UNSENT => {
                self.unsent.push_back((socket, to, bytes));
            }
            Err(error) => {
                self.at_once.push_back(Input::Unreachable { socket, to, bytes, error });
            }
        }
    }

    fn send_unsent(&mut self) {
        for (socket, to, bytes) in std::mem::take(&mut self.unsent) {
            self.send(socket, to, bytes);
        }
    }

    fn accept(&mut self, accepted: tcp::Accepted) {
        self.next_stream += 1;
        let id = tcp::name_accepted(self.next_stream);
        let told = self.told.clone();
        let most = if accepted.both { LINK_READ } else { CHUNK }; // the link's alone is of both
        let stream = tcp::Stream::accepted(&self.executor, id, accepted.stream, most, told);
        self.streams.insert(id, stream);
        let socket = accepted.socket;
        self.feed(match (accepted.both, accepted.from) {
            (false, SocketAddr::V4(from)) => Input::Accepted { socket, stream: id, from },
            (_, from) => Input::AcceptedBoth { socket, stream: id, from },
        });
    }

    fn call(&mut self, call: Call) {
        self.heap.call();
        if call.command.is_machines() {
            let settings = self.node.settings();
            return self.machine.answer(call, settings, &self.hub, &self.executor);
        }
        // whoever acts as the box has read what came
        if self.led.is_there()
            && call.command.is_act()
            && call.user.as_deref().is_none_or(|user| !self.hub.is_private(user))
        {
            self.led.unread(false);
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.answers.insert(ticket, call.reply);
        let given = call.file.map(|fd| self.adopt(fd));
        self.feed(Input::Ask { ticket, user: call.user, command: call.command, given });
    }

    fn adopt(&mut self, fd: OwnedFd) -> FileId {
        self.next_file += 1;
        let file = FileId(ACCEPTED | self.next_file);
        if let Err(error) = self.store.adopt(file, fd) {
            self.at_once.push_back(Input::File(file, Err(error)));
        }
        file
    }

    fn reload(&mut self, reload: &Reload) {
        self.notify.reloading();
        let loaded = reload.sources.load(&self.kept);
        for note in &loaded.notes {
            self.trouble(note.to_string());
        }
        if loaded.unusable {
            self.trouble("the settings stay as they are: a file could not be read".into());
            return;
        }
        log::info!("configuration read again");
        self.hooks.follow(&reload.sources.hooks());
        self.feed(Input::Reload(Box::new(loaded.settings)));
    }

    fn trouble(&self, text: String) {
        let at = Wall::from_system(SystemTime::now());
        let event = crate::model::Event { at, user: None, what: What::Error { text } };
        journal::event(&event);
        self.hub.tell(event);
    }
}

/// Hands an image to the desktop's standard program. The shell goes on its own way at once, so
/// nothing is waited for and nothing is left behind.
fn show(path: &str) {
    let script = "xdg-open \"$1\" >/dev/null 2>&1 &";
    let done = Process::new("sh")
        .args(["-c", script, "sh", path])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = done {
        log::warn!("the image cannot be shown: {error}");
    }
}
