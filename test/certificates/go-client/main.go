// An agent's side of istio.v1.auth, over Istio's published API module: makes a key and a request as Istio's agents
// do, asks for a certificate, checks the answer as they do, and prints what came of it as one line of JSON.
package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	security "istio.io/api/security/v1alpha1"
)

// Outcome is what is printed.
type Outcome struct {
	// Of a refusal: gRPC's code and message.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// PEM, as it came.
	Chain []string `json:"chain,omitempty"`
	// Of the leaf.
	URIs     []string `json:"uris,omitempty"`
	DNSNames []string `json:"dnsNames,omitempty"`
	NotAfter string   `json:"notAfter,omitempty"`
	// Roots in the last element.
	Roots int `json:"roots,omitempty"`
}

type options struct {
	address, serverName, authorities, tokenFile, key, claim, impersonate string
	validity                                                             time.Duration
}

func main() {
	var given options
	flag.StringVar(&given.address, "address", "", "of the certificate authority")
	flag.StringVar(&given.serverName, "server-name", "", "that its certificate must have")
	flag.StringVar(&given.authorities, "authorities", "", "file of the roots that it is verified with")
	flag.StringVar(&given.tokenFile, "token", "", "file of the bearer token")
	flag.StringVar(&given.key, "key", "rsa2048", "rsa1024, rsa2048, p224, p256, p384 or p521")
	flag.StringVar(&given.claim, "claim", "spiffe://cluster.local/ns/shop/sa/web", "identity that the request names")
	flag.StringVar(&given.impersonate, "impersonate", "", "identity to ask for in the metadata")
	flag.DurationVar(&given.validity, "validity", 24*time.Hour, "to ask for")
	flag.Parse()
	outcome, err := ask(given)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcome); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(given options) (Outcome, error) {
	key, err := makeKey(given.key)
	if err != nil {
		return Outcome{}, err
	}
	request, err := makeRequest(key, given.claim)
	if err != nil {
		return Outcome{}, err
	}
	token, err := os.ReadFile(given.tokenFile)
	if err != nil {
		return Outcome{}, err
	}
	roots, err := os.ReadFile(given.authorities)
	if err != nil {
		return Outcome{}, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(roots) {
		return Outcome{}, errors.New("no root in " + given.authorities)
	}
	transport := credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: given.serverName, MinVersion: tls.VersionTLS12})
	connection, err := grpc.NewClient(given.address, grpc.WithTransportCredentials(transport))
	if err != nil {
		return Outcome{}, err
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx,
		"authorization", "Bearer "+strings.TrimSpace(string(token)), "clusterid", "Kubernetes")
	// Agents send the signer's name also where there is none.
	fields := map[string]any{"CertSigner": ""}
	if given.impersonate != "" {
		fields["ImpersonatedIdentity"] = given.impersonate
	}
	more, err := structpb.NewStruct(fields)
	if err != nil {
		return Outcome{}, err
	}
	response, err := security.NewIstioCertificateServiceClient(connection).CreateCertificate(ctx,
		&security.IstioCertificateRequest{
			Csr:              string(request),
			ValidityDuration: int64(given.validity.Seconds()),
			Metadata:         more,
		})
	if refusal, ok := status.FromError(err); err != nil && ok {
		return Outcome{Code: refusal.Code().String(), Message: refusal.Message()}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	return check(response.GetCertChain(), key)
}

func makeKey(kind string) (crypto.Signer, error) {
	curves := map[string]elliptic.Curve{
		"p224": elliptic.P224(), "p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521(),
	}
	if curve, ok := curves[kind]; ok {
		return ecdsa.GenerateKey(curve, rand.Reader)
	}
	bits := map[string]int{"rsa1024": 1024, "rsa2048": 2048}[kind]
	if bits == 0 {
		return nil, errors.New("no key is called " + kind)
	}
	return rsa.GenerateKey(rand.Reader, bits)
}

// As agents do: an organization, and the identity that they hope for as a name.
func makeRequest(key crypto.Signer, claim string) ([]byte, error) {
	identity, err := url.Parse(claim)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{Organization: []string{"cluster.local"}},
		URIs:     []*url.URL{identity},
		DNSNames: []string{"admin.example"},
	}, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// The leaf is for our key, and holds below the roots of the last element through what lies between.
func check(chain []string, key crypto.Signer) (Outcome, error) {
	if len(chain) < 2 {
		return Outcome{}, fmt.Errorf("the chain has %d elements", len(chain))
	}
	if _, err := tls.X509KeyPair([]byte(strings.Join(chain, "")), keyPEM(key)); err != nil {
		return Outcome{}, err
	}
	block, rest := pem.Decode([]byte(chain[0]))
	if block == nil || len(rest) != 0 {
		return Outcome{}, errors.New("the first element is not one PEM block")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Outcome{}, err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	last := chain[len(chain)-1]
	if !roots.AppendCertsFromPEM([]byte(last)) {
		return Outcome{}, errors.New("the last element has no root")
	}
	for _, element := range chain[1 : len(chain)-1] {
		between.AppendCertsFromPEM([]byte(element))
	}
	usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: usages}); err != nil {
		return Outcome{}, err
	}
	outcome := Outcome{
		Chain:    chain,
		DNSNames: leaf.DNSNames,
		NotAfter: leaf.NotAfter.UTC().Format(time.RFC3339),
		Roots:    strings.Count(last, "BEGIN CERTIFICATE"),
	}
	for _, uri := range leaf.URIs {
		outcome.URIs = append(outcome.URIs, uri.String())
	}
	return outcome, nil
}

func keyPEM(key crypto.Signer) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
