// What a server sends of a list of Pods as protobuf. The benchmark's source holds these bytes ready.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// protobuf writes objects in their envelopes, and events as frames.
type protobuf struct {
	object runtime.Encoder
	stream runtime.StreamSerializerInfo
}

func newProtobuf() (protobuf, error) {
	info, known := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !known || info.StreamSerializer == nil {
		return protobuf{}, fmt.Errorf("client-go writes no protobuf")
	}
	return protobuf{scheme.Codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), *info.StreamSerializer}, nil
}

// event writes one frame.
func (protobuf protobuf) event(out io.Writer, kind watch.EventType, object runtime.Object) error {
	raw, err := runtime.Encode(protobuf.object, object)
	if err != nil {
		return err
	}
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: raw}}
	return protobuf.stream.Serializer.Encode(event, protobuf.stream.Framer.NewFrameWriter(out))
}

// render writes three files: `list`, the list in one body; `initial`, the events of a streaming list with the mark that
// ends them; and `expired`, the event that ends a watch. Or it writes one: `modified`, the events that the Pods have changed.
func render(in io.Reader, folder string, modified bool) error {
	protobuf, err := newProtobuf()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	pods := &corev1.PodList{}
	if err := runtime.DecodeInto(scheme.Codecs.UniversalDeserializer(), text, pods); err != nil {
		return err
	}
	if modified {
		return write(folder, "modified", func(out io.Writer) error { return events(protobuf, out, watch.Modified, pods) })
	}
	err = write(folder, "list", func(out io.Writer) error { return protobuf.object.Encode(pods, out) })
	if err != nil {
		return err
	}
	err = write(folder, "initial", func(out io.Writer) error { return initial(protobuf, out, pods) })
	if err != nil {
		return err
	}
	return write(folder, "expired", func(out io.Writer) error {
		gone := errors.NewResourceExpired("too old resource version").Status()
		return protobuf.event(out, watch.Error, &gone)
	})
}

// events writes the same of each Pod.
func events(protobuf protobuf, out io.Writer, kind watch.EventType, pods *corev1.PodList) error {
	for index := range pods.Items {
		if err := protobuf.event(out, kind, &pods.Items[index]); err != nil {
			return err
		}
	}
	return nil
}

// initial writes the events of a streaming list.
func initial(protobuf protobuf, out io.Writer, pods *corev1.PodList) error {
	if err := events(protobuf, out, watch.Added, pods); err != nil {
		return err
	}
	mark := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: pods.ResourceVersion,
		Annotations:     map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}}
	return protobuf.event(out, watch.Bookmark, mark)
}

// write makes a file of what content writes.
func write(folder, name string, content func(io.Writer) error) error {
	file, err := os.Create(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriter(file)
	if err := content(out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}
