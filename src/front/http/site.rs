//! The service that connections ask, which stays while the routes behind it are replaced.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use axum::Router;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::{Config, Services};
use crate::current::Current;

/// Each request is answered by the routes that hold when it comes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Site(Current<Router>);

impl Site {
    /// The site of this front end.
    pub fn new(config: Config, services: Services) -> Self {
        Self(Current::new(super::app(config, services)))
    }

    /// Requests that come from now on are answered by this front end. Those under way keep theirs.
    pub fn renew(&self, config: Config, services: Services) {
        self.0.set(super::app(config, services));
    }
}

impl Service<Request<Incoming>> for Site {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let routes = Router::clone(&self.0.get());
        Box::pin(TowerToHyperService::new(routes).call(request))
    }
}
