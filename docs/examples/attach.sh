# Attaches the Envoy of envoy.yaml, written by hand, as the sidecar of shop/cart. Where `make build` was run:
# `. docs/examples/attach.sh`. (Sourced or pasted: Envoy ends with the shell that started it.)
cmd/countersign control-plane --directory deploy/demo --data-dir data >control-plane.log 2>&1 &
until cmd/countersign token --data-dir data --pod shop/cart >data/cart.token; do sleep 1; done 2>/dev/null
envoy -c docs/examples/envoy.yaml --log-level warn &
until curl -fs 127.0.0.1:15000/ready; do sleep 1; done
cmd/countersign proxies --data-dir data
