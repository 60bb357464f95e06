# cross brings Rust along; this has the C compiler that SQLite needs, and the linker, which is told what
# cross/build tells it.
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends \
        gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross ca-certificates \
    && rm -rf /var/lib/apt/lists/*
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc-ar \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-Clink-arg=-Wl,-T,cross/small.ld -Clink-arg=-Wl,-z,pack-relative-relocs"
