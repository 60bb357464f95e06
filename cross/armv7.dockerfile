# cross brings Rust along; this has the C compiler that SQLite needs, and the linker, which is told what
# cross/build tells it.
FROM debian:trixie-slim
RUN apt-get update && apt-get install --yes --no-install-recommends \
        gcc libc6-dev gcc-arm-linux-gnueabihf libc6-dev-armhf-cross ca-certificates \
    && rm -rf /var/lib/apt/lists/*
ENV CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc \
    CC_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc \
    AR_armv7_unknown_linux_gnueabihf=arm-linux-gnueabihf-gcc-ar \
    CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS="-Clink-arg=-Wl,-T,cross/small.ld -Clink-arg=-Wl,-z,pack-relative-relocs"
