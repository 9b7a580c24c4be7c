use serde_json::json;
use tessera_http::RouteError;

use crate::house::{House, table};

#[tokio::test]
async fn placeholders_are_decoded_segment_by_segment() {
    let house = House::open().await;
    let reply = house.ask("PUT /rooms/!a%3Ab.c:80/send/m%2Fx%20y/%C3%A4?a=%20b").await.json();
    assert_eq!(reply["route"], "send");
    assert_eq!(reply["params"], json!([["id", "!a:b.c:80"], ["type", "m/x y"], ["txn", "ä"]]));
    assert_eq!(reply["path"], "/rooms/!a%3Ab.c:80/send/m%2Fx%20y/%C3%A4", "as sent");
    assert_eq!(reply["query"], "a=%20b", "as sent");
}

#[tokio::test]
async fn one_route_may_have_many_paths() {
    let house = House::open().await;
    let reply = house.ask("PUT /old/a/b/c").await.json();
    assert_eq!((&reply["route"], &reply["params"][2][1]), (&json!("send"), &json!("c")));
}

#[tokio::test]
async fn a_literal_goes_before_a_placeholder_unless_it_lacks_the_method() {
    let house = House::open().await;
    assert_eq!(house.ask("GET /rooms/known").await.json()["route"], "known");
    assert_eq!(house.ask("GET /rooms/%6bnown").await.json()["route"], "known", "decoded first");
    assert_eq!(house.ask("POST /rooms/known").await.json()["route"], "room");
    assert_eq!(house.ask("GET /rooms/").await.json()["params"], json!([["id", ""]]));
}

#[tokio::test]
async fn a_rest_takes_slashes() {
    let house = House::open().await;
    let reply = house.ask("GET /files/a/b%2Fc//d").await.json();
    assert_eq!(reply["params"], json!([["path", "a/b/c//d"]]));
}

#[tokio::test]
async fn what_no_route_has_is_404_and_a_wrong_method_405() {
    let house = House::open().await;
    for path in ["/", "/nothing", "/rooms", "/rooms/a/b", "/mine/"] {
        assert_eq!(house.ask(&format!("GET {path}")).await.status, 404, "{path}");
    }
    let long = format!("GET /files{}", "/a".repeat(100));
    assert_eq!(house.ask(&long).await.status, 404, "too many segments");
    for method in ["DELETE", "BREW"] {
        let reply = house.ask(&format!("{method} /rooms/a")).await;
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("GET, POST"));
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused() {
    let house = House::open().await;
    for path in ["/rooms/%", "/rooms/%4", "/rooms/%zz", "/rooms/%ff"] {
        assert_eq!(house.ask(&format!("GET {path}")).await.status, 400, "{path}");
    }
}

#[test]
fn routes_that_clash_are_refused_and_both_sides_named() {
    let one = "name = 'one'\nversion = '0.1.0'\n[http]\nroutes = [{ id = 'a', methods = ['GET'], paths = ['/x/{a}'], auth = 'none' }]";
    let two = one.replace("'one'", "'two'").replace("'a'", "'b'").replace("{a}", "{b}");
    let error = table(&[one, &two]).err().unwrap();
    assert!(matches!(error, RouteError::Conflict { .. }));
    assert_eq!(
        error.to_string(),
        "GET /x/{b} is the route `b` of plug-in two and the route `a` of plug-in one"
    );
    let other_method = two.replace("GET", "PUT");
    assert_eq!(table(&[one, &other_method]).unwrap().len(), 2);
}

#[test]
fn authenticators_must_be_there_once() {
    let route = "name = 'one'\nversion = '0.1.0'\n[http]\nroutes = [{ id = 'a', methods = ['GET'], paths = ['/x'] }]";
    assert_eq!(
        table(&[route]).err().unwrap().to_string(),
        "the route `a` of plug-in one wants the authenticator `token`, which no plug-in offers"
    );
    let offer = |name: &str| {
        format!("name = '{name}'\nversion = '0.1.0'\n[authenticators.token]\nreads = 'head'")
    };
    assert!(table(&[route, &offer("two")]).is_ok());
    assert_eq!(
        table(&[route, &offer("two"), &offer("three")]).err().unwrap().to_string(),
        "the authenticator `token` is offered by plug-in two and by plug-in three"
    );
}

#[test]
fn a_body_for_a_blob_cannot_be_signed() {
    let text = "name = 'one'\nversion = '0.1.0'\n[authenticators.s]\nreads = 'head+body'\n[http]\n
        routes = [{ id = 'a', methods = ['PUT'], paths = ['/x'], auth = 's', body = 'blob' }]";
    assert!(matches!(table(&[text]), Err(RouteError::BlobUnread { .. })));
}

#[test]
fn a_rate_class_that_is_not_configured_is_told() {
    let text = "name = 'one'\nversion = '0.1.0'\n[http]\n
        routes = [{ id = 'a', methods = ['PUT'], paths = ['/x'], auth = 'none', rate = 'none-such' }]";
    let table = table(&[text]).unwrap();
    assert_eq!(
        table.warnings(),
        ["the route `a` of plug-in one is not limited: there is no [rates.none-such]"]
    );
}
