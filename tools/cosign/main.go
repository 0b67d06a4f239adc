// Signs what cosign signs, with the library that cosign itself signs with: one JSON line for each kind of key.
//
//	cd tools/cosign && go run . > ../../tests/golden/data/cosign-signatures.jsonl
package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/dsse"
	"github.com/sigstore/sigstore/pkg/signature/payload"
)

const digest = "sha256:97fc222cee7991b5b061d4d4afdb5f3428fcb0c9054e1690313786befa1e4e36"

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func main() {
	image := must(name.NewDigest("registry.example.com/shop/web@" + digest))
	simple := must(json.Marshal(payload.Cosign{Image: image, Annotations: map[string]interface{}{"by": "tests"}}))
	statement := []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + digest[7:] +
		`"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`)
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	keys := []struct {
		name string
		key  crypto.Signer
		hash crypto.Hash
	}{
		{"ecdsa-p256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), crypto.SHA256},
		{"ecdsa-p384", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), crypto.SHA256},
		{"ecdsa-p384-sha384", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)), crypto.SHA384},
		{"ecdsa-p521-sha512", must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)), crypto.SHA512},
		{"ed25519", edwards, crypto.SHA256},
		{"rsa-pkcs1v15", rsaKey, crypto.SHA256},
	}
	for _, each := range keys {
		signer := must(signature.LoadSigner(each.key, each.hash))
		print(each.name, each.key, signer, simple, statement)
	}
	print("rsa-pss", rsaKey, must(signature.LoadRSAPSSSigner(rsaKey, crypto.SHA256, nil)), simple, statement)
}

func print(name string, key crypto.Signer, signer signature.Signer, simple, statement []byte) {
	wrapped := dsse.WrapSigner(signer, "application/vnd.in-toto+json")
	line := map[string]string{
		"name":      name,
		"digest":    digest,
		"publicKey": string(must(cryptoutils.MarshalPublicKeyToPEM(key.Public()))),
		"payload":   string(simple),
		"signature": base64.StdEncoding.EncodeToString(must(signer.SignMessage(bytes.NewReader(simple)))),
		"envelope":  string(must(wrapped.SignMessage(bytes.NewReader(statement)))),
	}
	fmt.Println(string(must(json.Marshal(line))))
}
