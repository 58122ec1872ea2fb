from django.apps import AppConfig


class ThreadsConfig(AppConfig):
    name = "threads"

    def ready(self) -> None:
        from audit.export_sources import Part, register
        from threads import receivers  # noqa: F401  (importing connects them)
        from threads.transcripts import PdfTranscripts, Transcripts

        register("threads", Part("Conversations, as pages", Transcripts()))
        register("threads_pdf", Part("Conversations, as PDF", PdfTranscripts()))
