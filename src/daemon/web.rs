//! Which web servers run: those that the settings ask for, on ports that no other program has.

use std::net::SocketAddrV4;
use std::rc::Rc;

use async_executor::{LocalExecutor, Task};

use super::ports::{self, Proto};
use crate::config;
use crate::hub::Hub;
use crate::model::{IoError, Trouble};
use crate::reactor::spawn;
use crate::web::hello::Hello;
use crate::web::server;

/// The servers that run; dropping it ends them.
#[derive(Default)]
pub(super) struct Web {
    asked: Vec<SocketAddrV4>,
    serving: Vec<Task<()>>,
}

impl Web {
    /// Starts and ends servers as the settings have it. A line for each that cannot be had.
    pub(super) fn follow(
        &mut self,
        settings: &config::Hello,
        hub: &Rc<Hub>,
        executor: &Rc<LocalExecutor<'static>>,
    ) -> Vec<String> {
        let ports = settings.web_ports.iter().filter(|_| settings.enabled);
        let asked: Vec<SocketAddrV4> =
            ports.map(|port| SocketAddrV4::new(settings.web_address, *port)).collect();
        if asked == self.asked {
            return Vec::new();
        }
        self.asked = asked;
        self.serving.clear();
        let mut lines = Vec::new();
        for at in &self.asked {
            match server::listen(Some((*at.ip()).into()), at.port(), 0) {
                Ok(listener) => {
                    let site = Rc::new(Hello::new(Rc::clone(hub)));
                    let serving = server::serve(listener, Rc::clone(executor), site);
                    let at = *at;
                    self.serving.push(spawn(executor, async move {
                        // awaited first: a macro that is off evaluates none of its arguments
                        let error = serving.await;
                        log::error!("the hello chat's web API at {at}: {error}");
                    }));
                }
                Err(error) => lines.push(refused(*at, &IoError::from(&error))),
            }
        }
        lines
    }
}

fn refused(at: SocketAddrV4, error: &IoError) -> String {
    let holder = ports::holder(Proto::Tcp, at.port()).filter(|_| error.kind == Trouble::InUse);
    let why = holder.map_or_else(|| error.to_string(), |who| format!("{who} has it"));
    format!(
        "TCP port {} is not ours ({why}): the hello chat's web API is off there; end that program \
         and start klatsch anew, or set hello.web-ports",
        at.port()
    )
}
