# syntax=docker/dockerfile:1
# Gantry and what it needs to run, and nothing else: no shell, no package manager.
#   docker build -t gantry .
#   docker run -v ./gantry.toml:/etc/gantry/gantry.toml:ro -p 8080:8080 -p 11112:11112 --read-only --tmpfs /tmp gantry
ARG RUST=1.95

FROM rust:${RUST}-slim-bookworm AS build
# make is for the allocator, cmake and nasm are for libjpeg-turbo; any version will do.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends cmake make nasm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --features native-codecs --bin gantry \
    && install -D target/release/gantry /out/gantry \
    && strip --strip-debug /out/gantry

FROM debian:bookworm-slim AS root
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# The authorities of today: a pinned version would be those of yesterday.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /image
COPY --from=build /out/gantry usr/local/bin/gantry
# The libraries that it is linked to, who signs certificates, its user, its folders, and for scanners the packages that
# the libraries are of. Writable are /var/lib/gantry, /var/cache/gantry and /tmp, where something is mounted.
RUN mkdir -p etc/gantry etc/ssl/certs var/lib/gantry var/cache/gantry var/lib/dpkg/status.d run tmp; \
    chmod 1777 tmp; \
    chown 65532:65532 var/lib/gantry var/cache/gantry; \
    for file in $(ldd usr/local/bin/gantry | grep -o '/[^ ]*'); do \
        install -D "$(realpath "$file")" ".$file"; \
        package=$(dpkg-query --search "*/${file##*/}" | cut -d: -f1 | sort -u); \
        dpkg-query --status "$package" > "var/lib/dpkg/status.d/$package"; \
    done; \
    cp /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/; \
    cp /etc/debian_version /etc/os-release etc/; \
    echo 'gantry:x:65532:65532::/var/lib/gantry:/sbin/nologin' > etc/passwd; \
    echo 'gantry:x:65532:' > etc/group; \
    echo 'hosts: files dns' > etc/nsswitch.conf

FROM scratch
COPY --from=root /image/ /
USER 65532:65532
WORKDIR /var/lib/gantry
# DICOMweb, DIMSE, DIMSE over TLS.
EXPOSE 8080 11112 2762
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["/usr/local/bin/gantry", "health", "--config", "/etc/gantry/gantry.toml"]
ENTRYPOINT ["/usr/local/bin/gantry"]
CMD ["serve", "--config", "/etc/gantry/gantry.toml"]
