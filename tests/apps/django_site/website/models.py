from django.db import models
from django.urls import reverse
from django.utils.text import slugify


class Entry(models.Model):
    title = models.CharField(max_length=100)
    slug = models.SlugField(max_length=100, allow_unicode=True, unique=True, editable=False)
    text = models.TextField()
    attachment = models.FileField(upload_to='attachments', blank=True)

    class Meta:
        ordering = ['pk']
        verbose_name_plural = 'entries'

    def __str__(self):
        return self.title

    def save(self, *args, **kwargs):
        self.slug = slugify(self.title, allow_unicode=True)
        super().save(*args, **kwargs)

    def get_absolute_url(self):
        return reverse('entry', args=[self.slug])
