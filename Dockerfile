# The only image from outside. scripts/pin-base-image.sh pins it by digest, as a release requires.
FROM node:26-bookworm-slim AS base

FROM base AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts/node/package.json scripts/node/package.json
# The compiler, and the other packages for development. None of them may run code of its own.
RUN npm ci --ignore-scripts --workspaces=false --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/build.ts scripts/build.ts
COPY src src
# Not by npm, which would run the project's own Node instead of the image's.
RUN node scripts/build.ts && find dist -name '*.map' -delete

FROM base AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY scripts/node/package.json scripts/node/package.json
# Source maps, types, and builds for bundlers are half of the installed size; Node never loads them.
RUN npm ci --ignore-scripts --omit=dev --workspaces=false --no-audit --no-fund \
 && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' \) -delete \
 && rm -rf node_modules/@opentelemetry/*/build/esm node_modules/@opentelemetry/*/build/esnext

FROM base
ARG VERSION=0.2.0
ARG REVISION=unknown
# Where the sources are, by which registries find documentation; the release workflow sets it.
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="Headgate" \
      org.opencontainers.image.description="A rate-limit-aware gateway in front of a rate-limited HTTP API: one shared budget, one fair queue, no 429s for callers." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="docker.io/library/node:26-bookworm-slim"
# On loopback, a container's listeners could not be reached from outside.
ENV NODE_ENV=production \
    HEADGATE_LISTEN=[::]:8080 \
    HEADGATE_ADMIN_LISTEN=[::]:8081
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
# A number, because orchestrators that require a non-root user cannot resolve a name.
USER 1000:1000
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["node", "/app/dist/main.js", "health"]
# Node is the first process, so it receives the signals itself; Headgate handles them.
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["serve"]
