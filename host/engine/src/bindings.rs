//! Typed bindings of the contract in `wit/host` and `wit/plugin`.
//!
//! One world holds every capability and every interface that a plug-in may offer. No component is asked
//! to fit it as a whole: the exports are looked up one by one, by interface name.
#![expect(missing_docs, reason = "generated; the documentation is in wit/")]

wasmtime::component::bindgen!({
    path: ["../../wit/host", "../../wit/plugin"],
    inline: "
        package tessera:engine;
        world everything {
            include tessera:host/capabilities@0.1.0;
            export tessera:plugin/http@0.1.0;
            export tessera:plugin/continuation@0.1.0;
            export tessera:plugin/authenticator@0.1.0;
            export tessera:plugin/consumer@0.1.0;
            export tessera:plugin/timer@0.1.0;
            export tessera:plugin/lifecycle@0.1.0;
        }
    ",
    world: "tessera:engine/everything",
    imports: {
        "tessera:host/bus": trappable,
        "tessera:host/cache": trappable,
        "tessera:host/limits": trappable,
        "tessera:host/log": trappable,
        "tessera:host/metrics": trappable,
        "tessera:host/config": trappable,
        "tessera:host/peers": trappable,
        "tessera:host/answer": trappable,
        "tessera:host/crypto.tenant-name": trappable,
        "tessera:host/crypto.key": trappable,
        "tessera:host/storage.unlock": trappable,
        default: async | trappable,
    },
    exports: { default: async },
});
