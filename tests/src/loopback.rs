//! Neighbourhoods on one machine: every address of 127.0.0.0/8 is this machine's, and nodes take all but the usual one for
//! addresses of other networks.

use std::net::{Ipv4Addr, SocketAddrV4};

use tokio::net::{TcpSocket, TcpStream};

/// An address in a neighbourhood that follows from two numbers.
pub fn address(kind: u8, n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, kind, n, 1)
}

/// A plain TCP connection from an address of this machine.
pub async fn connect(from: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect(to.into()).await
}
