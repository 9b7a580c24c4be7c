//! The empty routes: one of a plug-in and one of the edge itself on one address, one of axum on another.

use std::{io::Read as _, net::SocketAddr, path::Path, sync::Arc};

use anyhow::{Context, Result};
use axum::{Router, http::header, response::IntoResponse, routing::get};
use tessera_http::{Edge, OneSite, PluginRoutes, RouteTable, Server, Site};
use tokio::net::TcpListener;

use crate::house::{House, TENANT};

/// Serves until standard input closes, as it does when the parent ends in whatever way. The addresses of edge and
/// axum are the first line of standard output.
pub(crate) async fn run(fixtures: &Path) -> Result<()> {
    let house = House::open(fixtures, |_| ()).await?;
    let settings = tessera_manifest::Http { native_route: true, ..Default::default() };
    let manifests: Vec<_> =
        house.plugins.iter().map(|plugin| PluginRoutes { manifest: &plugin.manifest }).collect();
    let site = Site {
        tenant: TENANT.into(),
        dispatch: Arc::clone(&house.tenant) as _,
        blobs: house.blobs.clone(),
        routes: Arc::new(RouteTable::build(&manifests, &settings, &Default::default())?),
        quotas: Default::default(),
    };
    let edge = Edge::new(settings, house.bus.clone(), OneSite::new(site), &house.registry)?;
    let loopback: SocketAddr = ([127, 0, 0, 1], 0).into();
    let server = Server::bind(edge, vec![loopback.into()]).await?;
    let edge_address = *server.addresses().first().context("no address")?;
    let _running = server.start();

    let listener = TcpListener::bind(loopback).await?;
    println!("{edge_address} {}", listener.local_addr()?);
    let handler = async || ([(header::CONTENT_TYPE, "application/json")], "{}").into_response();
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        served = async { axum::serve(listener, Router::new().route("/noop", get(handler))).await } => {
            served.context("serving")
        }
        _ = parent => Ok(()),
    }
}
