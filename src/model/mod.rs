//! The words every floor speaks: handles, peers, entries, deliveries, events, limits.
//!
//! SANS-IO: nothing here names a socket, a file, a thread or a clock.

pub mod answer;
pub mod delivery;
pub mod event;
pub mod handle;
pub mod history;
pub mod limits;
pub mod machine;
pub mod map;
pub mod near;
pub mod net;
pub mod peer;
pub mod ring;
pub mod room;
pub mod text;
pub mod time;
pub mod trouble;

pub use answer::{
    Answer, ChatView, LinkView, PeerView, Receipt, Refusal, RoomMember, RoomView, RouteView,
    SettingView, SharedMessage, Status, TransferView, VerifyView,
};
pub use delivery::{Delivery, EntryId};
pub use event::{ChatState, Direction, Event, TransferState, What};
pub use handle::{BadHandle, Handle};
pub use machine::{Finding, Health, InterfaceView, Report};
pub use map::{Map, Set};
pub use net::{Bind, Interface, Link, Net, SocketId, StreamId};
pub use peer::{Dialect, PeerId, Presence, Trust, UserId};
pub use ring::{Gap, Ring, Stamped};
pub use room::RoomName;
pub use time::{Millis, Now, Wall};
pub use trouble::{IoError, Trouble};
