//! The routes of a module in words: what of the server's surface it takes, and who stands before it.

use tessera_manifest::{Auth, Descriptor, PluginManifest, Route};

use crate::plain::clean;

/// A line for one route. Nothing is cut: it is consented to as a whole.
pub(crate) fn words(route: &Route, descriptor: &Descriptor) -> String {
    let methods: Vec<String> = route.methods.iter().map(ToString::to_string).collect();
    let paths: Vec<String> = route.paths.iter().map(|path| clean(path.as_str())).collect();
    let optional = if route.auth_optional { ", or nobody" } else { "" };
    let auth = match auth(route, descriptor) {
        Auth::None => " WITHOUT authentication (it sees credentials)".to_owned(),
        Auth::By(name) => format!(", authenticated by {name}{optional}"),
    };
    format!("{}: {} {}{auth}", route.id, methods.join(", "), paths.join(", "))
}

/// Who authenticates it.
fn auth<'a>(route: &'a Route, descriptor: &'a Descriptor) -> &'a Auth {
    route.auth.as_ref().unwrap_or(&descriptor.http.default_authenticator)
}

/// Pairs of a route before and now, where methods, paths or who authenticates moved.
pub(crate) fn moved<'a>(
    before: &'a PluginManifest,
    now: &'a PluginManifest,
) -> impl Iterator<Item = (&'a Route, &'a Route)> {
    now.http.routes.iter().filter_map(|now| {
        let before = before.http.routes.iter().find(|before| before.id == now.id)?;
        let same = before.methods == now.methods
            && before.paths == now.paths
            && before.auth == now.auth
            && before.auth_optional == now.auth_optional;
        (!same).then_some((before, now))
    })
}
