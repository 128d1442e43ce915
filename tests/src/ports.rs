//! Addresses and ports on loopback that no other test uses.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, bail};
use ring::rand::{SecureRandom as _, SystemRandom};

/// An address out of 127.0.0.0/8, other than 127.0.0.x: servers of two runs do not meet even on the same port.
pub fn loopback() -> anyhow::Result<IpAddr> {
    let mut random = [0_u8; 3];
    if SystemRandom::new().fill(&mut random).is_err() {
        bail!("the system gives no random numbers");
    }
    let [a, b, c] = random.map(|byte| 1 + byte % 254);
    Ok(IpAddr::V4(Ipv4Addr::new(127, a, b, c)))
}

/// A TCP port of this address that is free now.
///
/// Nothing holds it until the server binds it; on an address of [`loopback`] nobody else asks for it meanwhile.
pub fn free_port(address: IpAddr) -> anyhow::Result<u16> {
    Ok(free_ports::<1>(address)?[0])
}

/// Several different free ports of this address.
pub fn free_ports<const N: usize>(address: IpAddr) -> anyhow::Result<[u16; N]> {
    let mut ports = [0; N];
    // All are held until the last is found, so that none is given twice.
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind(SocketAddr::new(address, 0))
            .with_context(|| format!("no free port on {address}"))?;
        *port = listener
            .local_addr()
            .context("a listener without an address")?
            .port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_asked_for_together_differ() {
        let [a, b, c] = free_ports::<3>(loopback().unwrap()).unwrap();
        assert!(
            a != b && b != c && a != c,
            "three different ports, got {a}, {b}, {c}"
        );
    }
}
